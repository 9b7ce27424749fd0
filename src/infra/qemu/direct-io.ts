import { constants, open, stat } from 'node:fs/promises';

/**
 * Tells whether the file system of a file takes O_DIRECT, which `--cache=none` needs; asked once a file system.
 * A file that cannot be opened counts as yes: the program that opens it next says better what is wrong.
 */
export const createDirectIoCheck = (): ((path: string) => Promise<boolean>) => {
  const known = new Map<number, boolean>();
  return async (path) => {
    const device = await stat(path).then(
      ({ dev }) => dev,
      () => undefined,
    );
    if (device === undefined) return true;
    const answer = known.get(device) ?? (await opensDirect(path));
    known.set(device, answer);
    return answer;
  };
};

const opensDirect = async (path: string): Promise<boolean> => {
  try {
    await using _file = await open(path, constants.O_RDONLY | constants.O_DIRECT);
    return true;
  } catch (error) {
    // open(2): EINVAL is the answer of a file system without O_DIRECT.
    return !(error instanceof Error && 'code' in error && error.code === 'EINVAL');
  }
};
