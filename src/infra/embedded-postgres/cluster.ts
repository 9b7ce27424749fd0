import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Binaries } from './binaries.ts';
import type { Identity } from './identity.ts';

/** An initialised database cluster (PostgreSQL's word for its data files) and the superuser's password. */
export type Cluster = Readonly<{ dir: string; password: string }>;

export const superuser = 'sendense';

/** What works on a cluster, and as whom. */
export type Tools = Readonly<{ binaries: Binaries; identity: Identity }>;

type Making = Tools & Readonly<{ passwordFile: string }>;

const initTimeoutMs = 120_000;

/** Without LC_ALL and TZ initdb searches the host's locales and time zones; the password stands in a file, not here. */
export const postgresEnv = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

const exists = async (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Written for the uid that initdb runs as, readable for nobody else. */
const writePassword = async (path: string, { owner }: Identity): Promise<void> => {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(randomBytes(24).toString('base64url'));
    await file.chown(owner.uid, owner.gid);
    await file.sync();
  } finally {
    await file.close();
  }
};

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};

/** All files are written first and synced in one go: a fraction of the time of initdb's own way, and as durable. */
const initialise = async (
  dir: string,
  { binaries, identity, passwordFile }: Making,
  signal: AbortSignal,
): Promise<void> => {
  const initdb = async (...args: string[]): Promise<void> => {
    const [file = '', ...rest] = [...identity.prefix, binaries.initdb, `--pgdata=${dir}`, ...args];
    const limits = { cancelSignal: signal, timeout: initTimeoutMs } as const;
    await execa(file, rest, { ...limits, extendEnv: false, env: postgresEnv, cwd: '/', stdin: 'ignore' });
  };
  const access = [`--username=${superuser}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
  await initdb('--no-sync', '--no-instructions', '--locale=C', '--encoding=UTF8', ...access);
  await initdb('--sync-only');
};

/** Opens the cluster below `dataDir`, made on the first call. Only a complete one ever has the final name. */
export const openCluster = async (dataDir: string, tools: Tools, signal: AbortSignal): Promise<Cluster> => {
  const dir = join(dataDir, 'cluster');
  const passwordFile = join(dataDir, 'password');
  if (!(await exists(dir))) {
    const partial = `${dir}.partial`;
    await rm(partial, { recursive: true, force: true });
    await writePassword(passwordFile, tools.identity);
    await initialise(partial, { ...tools, passwordFile }, signal);
    await rename(partial, dir);
    await syncFolder(dataDir);
  }
  return { dir, password: await readFile(passwordFile, 'utf8') };
};
