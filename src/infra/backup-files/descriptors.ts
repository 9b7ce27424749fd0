import { constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { DomainError } from '#domain/errors.ts';
import { bytesOf, type RawName } from './names.ts';

/*
 * Node has no openat. `/proc/self/fd/<n>/<name>` is the same to the kernel: it goes to the very directory that is open, wherever
 * that is by now, and takes one step from there. A path of more than one step is never given to the kernel, so neither a link
 * nor something that is renamed meanwhile leads anywhere else.
 */

/** open(2): a hold on the thing itself. Opens no device, waits for no FIFO, and of a link gets the link. Not in Node's constants. */
const holdOnly = 0o10000000;
const noFollow = constants.O_NOFOLLOW;
const forReading = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** The magic link of a descriptor: opening it opens what is held, not what has its name now. */
export const held = (handle: FileHandle): string => `/proc/self/fd/${handle.fd}`;

/** The path of one step. `..` and a name with a slash would be another kind of path. */
export const below = (directory: FileHandle, name: RawName): Buffer => {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0'))
    throw new DomainError('path-outside-mount', 'This is not the name of a file.');
  return bytesOf(`${held(directory)}/${name}`);
};

export const holdBelow = (directory: FileHandle, name: RawName): Promise<FileHandle> =>
  open(below(directory, name), holdOnly | noFollow);

export const holdRoot = (path: string): Promise<FileHandle> => open(path, holdOnly | noFollow | constants.O_DIRECTORY);

/** Only for what is known to be a regular file. */
export const openHeld = (handle: FileHandle): Promise<FileHandle> => open(held(handle), forReading);

/** The mount that something belongs to; the device does not tell, since each subvolume of btrfs has one of its own. */
export const mountOf = async (handle: FileHandle): Promise<string> => {
  const facts = await readFile(`/proc/self/fdinfo/${handle.fd}`, 'latin1');
  const [, id] = /^mnt_id:\s*(\d+)$/m.exec(facts) ?? [];
  if (id === undefined) throw new Error('the kernel does not tell which mount a descriptor belongs to');
  return id;
};
