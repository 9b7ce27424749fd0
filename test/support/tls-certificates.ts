import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

export type Certificates = Readonly<{ caFile: string; certFile: string; keyFile: string }>;

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc'];
const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1';

/** An authority and a certificate of it for this host: some clients accept none that is its own authority. */
export const makeCertificates = async (dir: string): Promise<Certificates> => {
  const at = (name: string) => join(dir, name);
  const openssl = (...args: readonly string[]) => execa('openssl', args, { timeout: 20_000 });
  await openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-days',
    '2',
    '-subj',
    '/CN=ca',
  );
  await openssl('req', ...newKey, '-keyout', at('server.key'), '-out', at('server.csr'), '-subj', '/CN=localhost');
  await writeFile(at('server.ext'), names);
  const signedBy = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-days', '2', '-extfile', at('server.ext')];
  await openssl('x509', '-req', '-in', at('server.csr'), ...signedBy, '-out', at('server.pem'));
  return { caFile: at('ca.pem'), certFile: at('server.pem'), keyFile: at('server.key') };
};
