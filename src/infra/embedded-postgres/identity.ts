import { chmod, chown, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Binaries } from './binaries.ts';

/** A system user. */
export type Owner = Readonly<{ uid: number; gid: number }>;

/** As whom PostgreSQL runs, and what to write before its command line so that it does. */
export type Identity = Readonly<{ owner: Owner; prefix: readonly string[] }>;

const rootUid = 0;
const nobody: Owner = { uid: 65_534, gid: 65_534 };

/** PostgreSQL refuses to run as root. Only the path's capability is given, and only if the path cannot be walked without. */
const traversal: readonly (readonly string[])[] = [[], ['dac_read_search'], ['dac_override']];

/** Ends with the thread that started it, whatever ended that. SIGINT is PostgreSQL's fast shutdown. */
const dieWithParent = ['setpriv', '--pdeathsig', 'INT'];

const selfOwner = (): Owner => ({ uid: process.getuid?.() ?? rootUid, gid: process.getgid?.() ?? rootUid });

/** The account that Debian's packages make for PostgreSQL, else the one that owns nothing. */
const unprivileged = async (): Promise<Owner> => {
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith('postgres:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : nobody;
};

/** An existing folder keeps its owner, so that a server made by a user still starts when root starts it. */
const ownerOf = async (dataDir: string): Promise<Owner> => {
  const self = selfOwner();
  if (self.uid !== rootUid) return self;
  const { uid, gid } = await stat(dataDir);
  return uid === rootUid ? unprivileged() : { uid, gid };
};

const setpriv = ({ uid, gid }: Owner, capabilities: readonly string[]): readonly string[] => {
  const given = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
  const user = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--no-new-privs'];
  return [...dieWithParent, ...user, `--inh-caps=${given}`, `--ambient-caps=${given}`];
};

const works = async (command: readonly string[]): Promise<boolean> => {
  const [file = '', ...args] = command;
  return (await execa(file, args, { reject: false, stdio: 'ignore', timeout: 10_000 })).exitCode === 0;
};

/** Tried, not derived from modes: access lists, mounts and the capabilities a container was left decide as well. */
const reaches = async (
  prefix: readonly string[],
  dataDir: string,
  { postgres, shareDir }: Binaries,
): Promise<boolean> =>
  (await works([...prefix, 'ls', dataDir, shareDir])) &&
  (await works([...prefix, 'head', '--bytes=1', join(shareDir, 'postgres.bki')])) &&
  (await works([...prefix, postgres, '--version']));

/** Creates the data folder if it is missing and hands it to the one who will run PostgreSQL. */
export const takeIdentity = async (dataDir: string, binaries: Binaries): Promise<Identity> => {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const owner = await ownerOf(dataDir);
  if (selfOwner().uid !== rootUid) {
    return { owner, prefix: (await works([...dieWithParent, 'true'])) ? dieWithParent : [] };
  }
  await chown(dataDir, owner.uid, owner.gid);
  await chmod(dataDir, 0o700);
  for (const capabilities of traversal) {
    const prefix = setpriv(owner, capabilities);
    if (await reaches(prefix, dataDir, binaries)) return { owner, prefix };
  }
  throw new Error(
    `PostgreSQL cannot run as root, and user ${owner.uid} cannot be given access to ${dataDir} and ${binaries.postgres}`,
  );
};
