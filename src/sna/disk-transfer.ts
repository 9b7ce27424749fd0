import { writeFile } from 'node:fs/promises';
import { type DiskServer, withDiskServer } from './disk-server.ts';
import { bytesBefore, type Extent, extentList, requestSizeFor, totalBytes } from './extents.ts';
import { JobFailure } from './job-failure.ts';
import { type NbdTarget, nbdUri } from './nbd-targets.ts';
import { ProgramFailed, type Programs } from './programs.ts';
import { meterReads } from './read-meter.ts';
import type { SnapshotDisk } from './source.ts';

/**
 * - `fresh`: everything into a new, empty image.
 * - `over`: everything into an image that shows another state beneath: zeroes must be written.
 * - `changes`: just these extents, zeroes in them included, into an image that shows the earlier state beneath.
 */
export type TransferPlan = Readonly<
  { kind: 'fresh' } | { kind: 'over' } | { kind: 'changes'; extents: readonly Extent[] }
>;

export type Transfer = Readonly<{
  disk: SnapshotDisk;
  target: NbdTarget;
  plan: TransferPlan;
  /** The job's own folder. */
  folder: string;
  /** A path of its own for the list of extents. */
  extentFile: string;
  onProgress: (transferredBytes: number, totalBytes: number) => void;
}>;

// Two connections and 16 requests in flight keep a local disk busy; more of either gains nothing.
const common = ['--flush', '--progress=3', '--connections=2', '--requests=16'] as const;

/** What nbdkit serves: the disk, or just the listed parts of it. */
const servedBy = ({ disk, plan, extentFile }: Transfer): readonly string[] => {
  const [plugin, ...parameters] = disk.nbdkitPlugin;
  return plan.kind === 'changes'
    ? ['--filter=extentlist', plugin, ...parameters, `extentlist=${extentFile}`]
    : [plugin, ...parameters];
};

/**
 * `-S 0`: otherwise zero blocks within changed extents are skipped and the parent's old data shows through.
 * `--destination-is-zero`: otherwise what is not listed is zeroed (`changes`), or zeroed needlessly (`fresh`).
 */
const copyOptions = (plan: TransferPlan): readonly string[] => {
  switch (plan.kind) {
    case 'fresh':
      return [...common, '--destination-is-zero'];
    case 'over':
      return common;
    case 'changes':
      return [...common, '-S', '0', '--destination-is-zero', `--request-size=${requestSizeFor(plan.extents)}`];
  }
};

/** nbdcopy writes lines `<n>/100`, n being how far through the disk it is. */
const lastPercent = (text: string): number | undefined => {
  const percent = /([0-9]+)\/100\n?$/.exec(text)?.[1];
  return percent === undefined ? undefined : Number(percent);
};

/** What two sources tell of a transfer, never going back. */
class Progress {
  readonly #transfer: Transfer;
  #extents: readonly Extent[] | undefined;
  #transferredBytes = 0;

  constructor(transfer: Transfer) {
    this.#transfer = transfer;
  }

  get totalBytes(): number {
    return totalBytes(this.#extents ?? []);
  }

  learn(extents: readonly Extent[]): void {
    this.#extents = extents;
    this.#atLeast(0);
  }

  /** nbdcopy's word: how far through the disk it is. */
  readonly walked = (text: string): void => {
    const percent = lastPercent(text);
    if (percent === undefined) return;
    this.#atLeast(bytesBefore(this.#extents ?? [], Math.floor((this.#transfer.disk.capacityBytes / 100) * percent)));
  };

  readonly read = (bytes: number): void => this.#atLeast(bytes);

  #atLeast(bytes: number): void {
    if (this.#extents === undefined) return;
    this.#transferredBytes = Math.min(this.totalBytes, Math.max(this.#transferredBytes, bytes));
    this.#transfer.onProgress(this.#transferredBytes, this.totalBytes);
  }
}

/** Resolves to the bytes moved, once the hub's export has flushed them. */
export const transferDisk = async (transfer: Transfer, programs: Programs, signal: AbortSignal): Promise<number> => {
  const { disk, plan, extentFile } = transfer;
  if (plan.kind === 'changes' && plan.extents.length === 0) return 0;
  if (plan.kind === 'changes') await writeFile(extentFile, extentList(plan.extents), { mode: 0o600 });
  const progress = new Progress(transfer);
  const extents = plan.kind === 'changes' ? Promise.resolve(plan.extents) : disk.dataExtents(signal);
  await Promise.all([copy(transfer, progress, programs, signal), extents.then((list) => progress.learn(list))]);
  return progress.totalBytes;
};

const copy = async (transfer: Transfer, progress: Progress, programs: Programs, signal: AbortSignal): Promise<void> => {
  const { disk, plan, target, folder } = transfer;
  const serve = { folder, name: `disk-${disk.index}`, arguments: servedBy(transfer) };
  const move = async ({ uri, pid }: DiskServer): Promise<void> => {
    const stopMeter = meterReads(pid, progress.read);
    try {
      const command = ['nbdcopy', ...copyOptions(plan), '--', uri, nbdUri(target)] as const;
      await programs.run(command, { onProgress: progress.walked }, signal);
    } finally {
      stopMeter();
    }
  };
  try {
    await withDiskServer(serve, programs, move, signal);
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof ProgramFailed ? error.message : String(error);
    throw new JobFailure('transfer_failed', `transfer of ${disk.label} failed: ${reason}`, { cause: error });
  }
};
