import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { JobFailure } from '../../job-failure.ts';
import { Mutex } from '../../mutex.ts';
import type { Snapshot, SnapshotDisk } from '../../source.ts';
import type { LiveVm } from './catalog.ts';
import type { LiveDisk } from './difference.ts';
import type { Reader } from './image-info.ts';
import { Mirror } from './mirror.ts';
import { firstDiskKey } from './vm-file.ts';

export type SnapshotLimits = Readonly<{ settleTimeoutMs: number; retryMs: number }>;
// A first copy may outlast the timeout, and what was written meanwhile must still get its chance.
const minAttempts = 3;

type Pair = Readonly<{ disk: LiveDisk; mirror: Mirror }>;

/**
 * The mirrors of one VM. A snapshot is the mirrors standing still: the lock is held from its creation to its removal,
 * and change tracking waits. It is one point in time of all disks: after every mirror has become equal to its disk, a
 * last look at all of them must find that none was written to since; the moment that look began is the snapshot's.
 */
export class TrackedVm {
  readonly #folder: string;
  readonly #reader: Reader;
  readonly #mutex = new Mutex();
  readonly #mirrors = new Map<number, Mirror>();
  #snapshot: Snapshot | undefined;

  constructor(folder: string, reader: Reader) {
    this.#folder = folder;
    this.#reader = reader;
  }

  get snapshotName(): string | undefined {
    return this.#snapshot?.name;
  }

  #pairs(vm: LiveVm): readonly Pair[] {
    return vm.disks.map((disk, index) => {
      const key = firstDiskKey + index;
      const mirror = this.#mirrors.get(key) ?? new Mirror(join(this.#folder, String(key)), this.#reader);
      this.#mirrors.set(key, mirror);
      return { disk, mirror };
    });
  }

  /** Disks of which a backup would not have to look for changes. */
  async currentDisks(vm: LiveVm): Promise<number> {
    const known = await Promise.all(this.#pairs(vm).map(({ disk, mirror }) => mirror.isKnownEqual(disk)));
    return known.filter(Boolean).length;
  }

  async wantsCatchUp(vm: LiveVm): Promise<boolean> {
    const wanted = await Promise.all(this.#pairs(vm).map(({ disk, mirror }) => mirror.wantsSync(disk)));
    return wanted.some(Boolean);
  }

  /** Disks whose first copy is still to be made. */
  async unmirroredFiles(vm: LiveVm): Promise<readonly string[]> {
    const pairs = this.#pairs(vm);
    const made = await Promise.all(pairs.map(({ disk, mirror }) => mirror.belongsTo(disk)));
    return pairs.flatMap(({ disk }, index) => (made[index] ? [] : [disk.path]));
  }

  /** Lets the mirrors catch up while no backup needs it. False when a disk keeps being written to. */
  async catchUp(vm: LiveVm, signal: AbortSignal): Promise<boolean> {
    const release = await this.#mutex.acquire(signal);
    try {
      let equal = true;
      for (const { disk, mirror } of this.#pairs(vm)) {
        if (!(await mirror.wantsSync(disk))) continue;
        equal = (await mirror.sync(disk, { background: true }, signal)) && equal;
        await mirror.persist();
      }
      return equal;
    } finally {
      release();
    }
  }

  async createSnapshot(name: string, vm: LiveVm, limits: SnapshotLimits, signal: AbortSignal): Promise<Snapshot> {
    const release = await this.#mutex.acquire(signal);
    try {
      const pairs = this.#pairs(vm);
      await settle(pairs, vm, limits, signal);
      this.#snapshot = this.#freeze(name, pairs, release);
      return this.#snapshot;
    } catch (error) {
      release();
      signal.throwIfAborted();
      if (error instanceof JobFailure) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new JobFailure('snapshot_failed', `snapshot of ${vm.spec.name} failed: ${reason}`, { cause: error });
    }
  }

  #freeze(name: string, pairs: readonly Pair[], release: () => void): Snapshot {
    const disks = pairs.map(snapshotDisk);
    const snapshot: Snapshot = {
      name,
      disks,
      remove: async () => {
        // The mirrors' states are written by one at a time.
        await Promise.allSettled(disks.map((disk) => disk.changeId()));
        if (this.#snapshot === snapshot) this.#snapshot = undefined;
        release();
      },
    };
    return snapshot;
  }

  async removeSnapshot(): Promise<void> {
    await this.#snapshot?.remove();
  }
}

const snapshotDisk = ({ disk, mirror }: Pair, index: number): SnapshotDisk => {
  // Not waited for: the transfer needs no change id yet, and syncing takes long on a busy disk.
  const changeId = mirror.takeSnapshot();
  return {
    key: firstDiskKey + index,
    index,
    label: diskLabel(index),
    capacityBytes: disk.capacityBytes,
    changeId: () => changeId,
    nbdkitPlugin: ['file', `file=${mirror.path}`],
    changedSince: (changeId) => mirror.changedSince(changeId),
    dataExtents: (signal) => mirror.dataExtents(signal),
  };
};

export const diskLabel = (index: number): string => `Hard disk ${index + 1}`;

const settle = async (pairs: readonly Pair[], vm: LiveVm, limits: SnapshotLimits, signal: AbortSignal) => {
  const deadline = performance.now() + limits.settleTimeoutMs;
  for (let attempt = 1; ; attempt += 1) {
    const synced = await Promise.all(
      pairs.map(
        async ({ disk, mirror }) =>
          (await mirror.isKnownEqual(disk)) || mirror.sync(disk, { background: false }, signal),
      ),
    );
    // A disk may have been judged minutes ago, beside a long first copy of another: all are looked at again, together.
    const still = await Promise.all(pairs.map(({ disk, mirror }) => mirror.equals(disk)));
    if (synced.every(Boolean) && still.every(Boolean)) return;
    if (attempt >= minAttempts && performance.now() > deadline) throw notStable(vm, still, attempt);
    await delay(limits.retryMs, undefined, { signal });
  }
};

const notStable = (vm: LiveVm, still: readonly boolean[], attempts: number): JobFailure => {
  const busy = vm.disks.filter((_, index) => !still[index]).map(({ file }) => file);
  return new JobFailure(
    'snapshot_not_stable',
    `snapshot of ${vm.spec.name} failed: ${busy.join(', ')} kept being written to in ${attempts} attempts. ` +
      'Disk images without a snapshot facility need a pause in writing; pause the VM or stop the writer for a moment.',
  );
};
