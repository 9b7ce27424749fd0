import { mkdir, open, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { PermanentFailure } from '#process-managers/ports.ts';
import { writeEmptyImage } from '../qemu/empty-image.ts';
import { findByArgument, hasArgument, identify, type ProcessIdentity } from '../qemu/process-table.ts';
import { readQcow2Header } from '../qemu/qcow2-header.ts';

export type Overlay = Readonly<{
  sizeBytes: number;
  /** What QEMU opens. As JSON: file names may hold commas, at which the short form would split. */
  options: object;
}>;

/** Small clusters: a journal's replay writes here and there. */
const layout = { clusterSizeBytes: 64 * 1024, subclusters: false } as const;

/**
 * Makes the throw-away overlay of a mount. The image, and through it its chain, is opened for reading alone, and the overlay
 * does not name it: it is worth nothing without this mount. Throws `PermanentFailure`.
 */
export const makeOverlay = async (folder: string, imagePath: string): Promise<Overlay> => {
  const header = await readQcow2Header(imagePath).catch((cause: unknown) => {
    throw new PermanentFailure(`${basename(imagePath)} cannot be opened`, { cause });
  });
  if (!header) throw new PermanentFailure(`${basename(imagePath)} is no qcow2 image`);
  const { virtualSizeBytes } = header;
  const overlayPath = join(folder, 'overlay.qcow2');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await using file = await open(overlayPath, 'w', 0o600);
  await writeEmptyImage(file, { ...layout, virtualSizeBytes }).catch((cause: unknown) => {
    throw new PermanentFailure(`${basename(imagePath)} has an impossible size`, { cause });
  });
  const options = {
    driver: 'qcow2',
    discard: 'unmap',
    file: { driver: 'file', filename: overlayPath },
    backing: { driver: 'qcow2', 'read-only': true, file: { driver: 'file', filename: imagePath, 'read-only': true } },
  };
  return { sizeBytes: virtualSizeBytes, options };
};

export const pidPathOf = (folder: string): string => join(folder, 'server.pid');

/** The program that was started with this argument, which names its pid file. */
export const findServer = async (folder: string, pidArgument: string): Promise<ProcessIdentity | undefined> => {
  const pid = Number(await readFile(pidPathOf(folder), 'utf8').catch(() => ''));
  if (pid > 0 && (await hasArgument(pid, pidArgument))) return identify(pid);
  return findByArgument(pidArgument);
};
