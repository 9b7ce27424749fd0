import { PermanentFailure } from '#process-managers/ports.ts';
import { runProgram } from '../qemu/program.ts';

const timeoutMs = 60_000;

/**
 * Applies what Windows had committed to the log of an NTFS and not yet to its place; ntfs-3g does not do it by itself. It
 * refuses logs that it does not understand: the filesystem is then mounted as it lies there, as ntfs-3g always does.
 */
export const replayNtfsLog = async (device: string, signal: AbortSignal): Promise<void> => {
  await runProgram('ntfsrecover', [device], timeoutMs, signal).catch((error: unknown) => {
    if (!(error instanceof PermanentFailure)) throw error;
  });
};
