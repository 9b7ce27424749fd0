import type { StoppedExport } from '#process-managers/ports.ts';
import type { Found } from './export-lookup.ts';
import { describeExit, type Exit, type ExportProcess } from './export-process.ts';
import { damaged } from './export-records.ts';
import type { FlushOutcome } from './nbd-flush.ts';
import { waitFor } from './wait-for.ts';

const termTimeoutMs = 5_000;
const killTimeoutMs = 5_000;

/** SIGTERM, then SIGKILL; returns once the process is gone, and whether it went by itself. */
export const endProcess = async (process: ExportProcess, signal: AbortSignal): Promise<'in-order' | 'killed'> => {
  const isGone = () => process.isGone();
  await process.kill('SIGTERM');
  if (await waitFor(isGone, termTimeoutMs, signal)) return 'in-order';
  await process.kill('SIGKILL');
  if (await waitFor(isGone, killTimeoutMs, signal)) return 'killed';
  throw new Error(`process ${process.identity.pid} does not end, not even by SIGKILL`);
};

const withWords = (detail: string, words: string): string => (words === '' ? detail : `${detail}: ${words}`);

/**
 * Whether everything that was written is in the image. A refused flush counts more than exit code 0, which qemu-nbd
 * also gives when closing the image failed.
 */
export const judgeEnd = (
  facts: Readonly<{
    readOnly: boolean;
    flush: FlushOutcome | undefined;
    ended: 'in-order' | 'killed';
    exit: Exit | undefined;
    words: string;
  }>,
): StoppedExport => {
  const { readOnly, flush, ended, exit, words } = facts;
  if (readOnly) return { outcome: 'clean', detail: 'it was read-only' };
  if (ended === 'killed')
    return { outcome: 'unclean', detail: `it did not end within ${termTimeoutMs / 1000} s of SIGTERM and was killed` };
  if (flush?.result === 'refused') return { outcome: 'unclean', detail: withWords(flush.detail, words) };
  if (exit !== undefined && exit.code !== 0)
    return { outcome: 'unclean', detail: withWords(`it ended with ${describeExit(exit)}`, words) };
  if (exit !== undefined) return { outcome: 'clean', detail: 'it ended in order with exit code 0' };
  const detail = flush?.detail ?? 'no flush';
  return { outcome: flush?.result === 'acknowledged' ? 'clean' : 'unclean', detail };
};

export const describeUnexpectedEnd = (exit: Exit | undefined, words: string): string =>
  withWords(exit === undefined ? 'qemu-nbd is gone' : `qemu-nbd ended with ${describeExit(exit)}`, words);

/** An export that had ended before it was stopped; `givenUp` when an earlier stop had begun and was not waited for. */
export const judgeDead = (
  { record, process }: Found & Readonly<{ state: 'dead' }>,
  givenUp: boolean,
  words: string,
): StoppedExport => {
  if (record === damaged) return { outcome: 'unclean', detail: 'its record cannot be read and nothing runs' };
  if (record.readOnly) return { outcome: 'clean', detail: 'it was read-only' };
  const exit = process?.exit();
  if (givenUp && exit?.code === 0) return { outcome: 'clean', detail: 'it ended in order with exit code 0' };
  if (exit === undefined && record.flushed) return { outcome: 'clean', detail: 'it was flushed and then ended' };
  return { outcome: 'unclean', detail: describeUnexpectedEnd(exit, words) };
};
