import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { hashPassword } from '#http/password.ts';
import { type Certificates, makeCertificates } from '../../../support/tls-certificates.ts';

const cli = fileURLToPath(new URL('../../../../src/cli.ts', import.meta.url));

export type Mode = 'insecure' | 'secure';
export type Credentials = Readonly<{ username: string; password: string }>;

export const admin: Credentials = { username: 'admin', password: 'changeit' };
export const ops: Credentials = { username: 'ops', password: 'changeit' };
export const ada: Credentials = { username: 'ada', password: 'ada:with a colon' };
export const bob: Credentials = { username: 'bob', password: 'bobs-password' };

export type StoreProcess = Readonly<{
  mode: Mode;
  port: number;
  pid: number;
  /** What the program says of itself, and writes into `event-store.json`. */
  announced: string;
  caFile: string | undefined;
  usersFile: string | undefined;
  /** With the credentials in it, if there are any to be sent. */
  connectionString: (credentials?: Credentials | 'anonymous') => string;
  /** Killed with -9 and started again, at the same port. */
  crashAndRestart: () => Promise<void>;
  stop: () => Promise<void>;
}>;

const writeUsers = async (dir: string): Promise<string> => {
  const path = join(dir, 'users');
  const groups = new Map([
    [admin, '$admins'],
    [ops, '$ops'],
    [ada, ''],
    [bob, 'auditors,drivers'],
  ]);
  const lines = [...groups].map(
    async ([{ username, password }, list]) => `${username}:${await hashPassword(password)}:${list}`,
  );
  await writeFile(path, `# who may sign in\n\n${(await Promise.all(lines)).join('\n')}\n`, { mode: 0o600 });
  await chmod(path, 0o600);
  return path;
};

/** The program as operators start it: `./sendense event-store`. */
const spawn = async (args: readonly string[]) => {
  const subprocess = execa(process.execPath, [cli, 'event-store', ...args], {
    stdin: 'ignore',
    reject: false,
    timeout: 240_000,
  });
  const [line] = await once(createInterface({ input: subprocess.stdout }), 'line', {
    signal: AbortSignal.timeout(20_000),
  });
  const address: { port: number; pid: number; connection: string } = JSON.parse(String(line));
  return { subprocess, address };
};

const authority = (credentials: Credentials | 'anonymous'): string =>
  credentials === 'anonymous'
    ? ''
    : `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}@`;

export const startStore = async (mode: Mode, more: readonly string[] = []): Promise<StoreProcess> => {
  const dir = await mkdtemp(join(tmpdir(), 'sendense-protocol-'));
  const certificates: Certificates | undefined = mode === 'secure' ? await makeCertificates(dir) : undefined;
  const usersFile = mode === 'secure' ? await writeUsers(dir) : undefined;
  const secured = certificates
    ? ['--tls-cert', certificates.certFile, '--tls-key', certificates.keyFile, '--users', String(usersFile)]
    : [];
  const args = ['--data-dir', join(dir, 'data'), ...secured, ...more];
  let running = await spawn([...args, '--port', '0']);
  const { port } = running.address;
  return {
    mode,
    port,
    get pid() {
      return running.address.pid;
    },
    announced: running.address.connection,
    caFile: certificates?.caFile,
    usersFile,
    connectionString: (credentials = admin) =>
      mode === 'secure'
        ? `esdb://${authority(credentials)}localhost:${port}?tls=true&tlsCAFile=${certificates?.caFile}`
        : `esdb://127.0.0.1:${port}?tls=false`,
    crashAndRestart: async () => {
      running.subprocess.kill('SIGKILL');
      await running.subprocess;
      running = await spawn([...args, '--port', String(port)]);
    },
    stop: async () => {
      running.subprocess.kill('SIGTERM');
      await running.subprocess;
      await rm(dir, { recursive: true, force: true });
    },
  };
};
