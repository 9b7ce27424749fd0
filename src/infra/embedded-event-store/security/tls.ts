import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ServerCredentials } from '@grpc/grpc-js';

export type TlsFiles = Readonly<{ certFile: string; keyFile: string }>;

/** A certificate or key that cannot be used, in a sentence for whoever runs the server. */
export class TlsError extends Error {
  override readonly name = 'TlsError';
}

const readPem = <T>(what: string, path: string, parse: (pem: Buffer) => T): Readonly<{ pem: Buffer; parsed: T }> => {
  try {
    const pem = readFileSync(path);
    return { pem, parsed: parse(pem) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const reason = code === '' || code.startsWith('ERR_') ? 'not PEM' : code;
    throw new TlsError(`The ${what} ${path} cannot be used (${reason}).`, { cause: error });
  }
};

/** The certificate may be followed by those that lead to its authority. Throws `TlsError`. */
export const readTlsCredentials = ({ certFile, keyFile }: TlsFiles): ServerCredentials => {
  const certificate = readPem('TLS certificate', certFile, (pem) => new X509Certificate(pem));
  const key = readPem('TLS key', keyFile, (pem) => createPrivateKey(pem));
  if (!certificate.parsed.checkPrivateKey(key.parsed)) {
    throw new TlsError(`The TLS key ${keyFile} does not belong to the certificate ${certFile}.`);
  }
  if (Date.parse(certificate.parsed.validTo) < Date.now()) {
    throw new TlsError(`The TLS certificate ${certFile} has expired on ${certificate.parsed.validTo}.`);
  }
  return ServerCredentials.createSsl(null, [{ cert_chain: certificate.pem, private_key: key.pem }]);
};
