import { PermanentFailure } from '#process-managers/ports.ts';
import { errnoOf } from '../durable-file.ts';

/** System errors that stay the same however often one tries, in words for an administrator. */
const finalReasons: ReadonlyMap<string | undefined, string> = new Map([
  ['ENOSPC', 'no space left on the device'],
  ['EDQUOT', 'the disk quota is used up'],
  ['EROFS', 'the file system is read-only'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'not permitted (is the file immutable?)'],
  ['ENOTDIR', 'a part of the path is not a folder'],
  ['EEXIST', 'a file is where a folder should be'],
  ['ENOENT', 'no such file or folder'],
  ['EISDIR', 'it is a folder'],
  ['ENAMETOOLONG', 'the path is too long'],
  ['ELOOP', 'too many symbolic links'],
]);

/** For `catch`: throws final system errors as `PermanentFailure`, everything else as it is. */
export const rethrowAsFinal =
  (path: string) =>
  (error: unknown): never => {
    const reason = finalReasons.get(errnoOf(error));
    throw reason === undefined ? error : new PermanentFailure(`${path}: ${reason}`, { cause: error });
  };
