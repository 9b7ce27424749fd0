import { chmod, chown, lstat, mkdir, mkdtemp, readlink, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Owner } from './identity.ts';

/** Names the socket file; nothing listens on TCP. */
export const socketPort = 5432;

// unix(7): sun_path holds 108 bytes with the closing zero.
const maxPathBytes = 107;
const prefix = 'sendense-pg-';

const fits = (dir: string): boolean => Buffer.byteLength(join(dir, `.s.PGSQL.${socketPort}`)) <= maxPathBytes;

/** Only what an earlier start made: a folder of that name, of that owner, straight in the folder for temporary files. */
const removeOutside = async (link: string, { uid }: Owner): Promise<void> => {
  const target = await readlink(link).catch(() => undefined);
  if (!target || dirname(target) !== tmpdir() || !basename(target).startsWith(prefix)) return;
  const found = await lstat(target).catch(() => undefined);
  if (found?.isDirectory() && found.uid === uid) await rm(target, { recursive: true, force: true });
};

/** The folder of the socket, and how to remove it. */
export type SocketDir = Readonly<{ path: string; remove(): Promise<void> }>;

/**
 * A new empty folder that the server's user alone may enter. It lies in the data folder, or, where that path is too long
 * for a socket, under a random name (nobody can have prepared it) with the temporary files, with a link to find it again.
 */
export const makeSocketDir = async (dataDir: string, owner: Owner): Promise<SocketDir> => {
  const inside = join(dataDir, 'socket');
  const remove = async (): Promise<void> => {
    await removeOutside(inside, owner);
    await rm(inside, { recursive: true, force: true });
  };
  await remove();
  if (fits(inside)) {
    await mkdir(inside, { mode: 0o700 });
    await chown(inside, owner.uid, owner.gid);
    return { path: inside, remove };
  }
  const outside = await mkdtemp(join(tmpdir(), prefix));
  await symlink(outside, inside);
  await chmod(outside, 0o700);
  await chown(outside, owner.uid, owner.gid);
  return { path: outside, remove };
};
