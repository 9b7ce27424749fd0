import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Extent } from '../../extents.ts';
import { readJson, writeJsonDurably } from '../../json-file.ts';
import { type ImageInfo, qemuNameOf, type Reader } from './image-info.ts';
import { changedSince, changeIdOf, MirrorState, newState, withPending, withSnapshot } from './mirror-state.ts';
import { quietStamp, stampOf, timesCanBeTrusted } from './stamp.ts';
import type { DiskFile } from './vm-file.ts';

export type LiveDisk = DiskFile & ImageInfo;
type How = Readonly<{ background: boolean }>;

const sectorBytes = 512;
const roundUp = (sizeBytes: number) => Math.ceil(sizeBytes / sectorBytes) * sectorBytes;

const birthOf = async (path: string): Promise<string> => {
  const { ino, birthtimeNs } = await stat(path, { bigint: true });
  return `${ino}:${birthtimeNs}`;
};

const identityOf = async ({ path, format, capacityBytes }: LiveDisk) =>
  `${format} ${capacityBytes} ${await birthOf(path)}`;

const prepareNewMirror = async (path: string, sizeBytes: number): Promise<void> => {
  const file = await open(path, 'r+');
  try {
    await file.truncate(sizeBytes); // qemu counts in sectors, a raw disk may end within one
    await file.datasync();
  } finally {
    await file.close();
  }
};

const syncFile = async (path: string): Promise<void> => {
  const file = await open(path, 'r');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
};

const MapEntries = z.array(
  z.object({ start: z.number(), length: z.number(), depth: z.number(), data: z.boolean(), present: z.boolean() }),
);

/**
 * A private copy of one disk, brought up to date with what strangers wrote to the disk. It is three things at once:
 * the snapshot (nobody writes to it while a backup reads it), the reference that changes are found against, and,
 * with the log beside it, the memory of changed blocks. Comparing and copying is qemu-img's work: a rebase of an
 * empty overlay from the disk onto the mirror leaves in it just the clusters (64 KiB) in which the two differ.
 *
 * A change is never lost, whenever the node dies: differences are written to the state before the mirror is touched,
 * and the stamp which says "equal" only after the mirror is on disk.
 */
export class Mirror {
  readonly path: string;
  readonly #folder: string;
  readonly #reader: Reader;
  #state: MirrorState | undefined;
  #loading: Promise<void> | undefined;

  constructor(folder: string, reader: Reader) {
    this.#folder = folder;
    this.#reader = reader;
    this.path = join(folder, 'mirror.raw');
  }

  get #statePath() {
    return join(this.#folder, 'state.json');
  }

  get #deltaPath() {
    return join(this.#folder, 'delta.qcow2');
  }

  /** Once; again after a failure. */
  #loaded(): Promise<void> {
    this.#loading ??= this.#load().catch((error: unknown) => {
      this.#loading = undefined;
      throw error;
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await Promise.all([this.#deltaPath, `${this.path}.partial`].map((path) => rm(path, { force: true })));
    const state = await readJson(this.#statePath, MirrorState);
    const mirror = await birthOf(this.path).catch(() => undefined);
    this.#state = state?.mirror === mirror ? state : undefined;
  }

  async #save(state: MirrorState): Promise<void> {
    this.#state = state; // first: if writing fails, memory knows the most
    await writeJsonDurably(this.#statePath, state);
  }

  /** Whether this mirror is of this very disk: same file, same size. */
  async belongsTo(disk: LiveDisk): Promise<boolean> {
    await this.#loaded();
    return this.#state?.identity === (await identityOf(disk));
  }

  /** Whether nothing was written to the disk since the mirror became equal to it. */
  async equals(disk: LiveDisk): Promise<boolean> {
    if (!(await this.belongsTo(disk))) return false;
    return this.#state?.stamp === (await stampOf(disk.files));
  }

  /** `equals` as far as the filesystem's times say so: on others only a comparison tells. */
  async isKnownEqual(disk: LiveDisk): Promise<boolean> {
    return (await this.equals(disk)) && (await timesCanBeTrusted(disk.path));
  }

  /**
   * One attempt to make the mirror equal to the disk. False when the disk was written to meanwhile: the mirror is
   * then as it was, or, if it is new, a mixture that the next attempt repairs.
   */
  async sync(disk: LiveDisk, how: How, signal: AbortSignal): Promise<boolean> {
    const stamp = await quietStamp(disk.files, signal);
    if (!(await this.belongsTo(disk))) return this.#create(disk, stamp, how, signal);
    return stamp !== undefined && this.#update(disk, stamp, how, signal);
  }

  async #create(disk: LiveDisk, stamp: string | undefined, how: How, signal: AbortSignal): Promise<boolean> {
    const identity = await identityOf(disk);
    const partial = `${this.path}.partial`;
    this.#state = undefined;
    await Promise.all([this.#statePath, this.path, partial].map((path) => rm(path, { force: true })));
    await this.#reader.programs.run(
      disk.format === 'raw'
        ? // A clone where the filesystem can, else a copy that keeps holes.
          ['cp', '--reflink=auto', '--sparse=auto', '--', disk.path, partial]
        : ['qemu-img', 'convert', '-q', '-O', 'raw', disk.qemuName, partial],
      how,
      signal,
    );
    await prepareNewMirror(partial, roundUp(disk.capacityBytes));
    await rename(partial, this.path);
    const equal = stamp !== undefined && stamp === (await stampOf(disk.files));
    const mirror = await birthOf(this.path);
    await this.#save(newState({ identity, mirror, capacityBytes: disk.capacityBytes, stamp: equal ? stamp : null }));
    return equal;
  }

  async #update(disk: LiveDisk, stamp: string, how: How, signal: AbortSignal): Promise<boolean> {
    try {
      const changed = await this.#compare(disk, how, signal);
      if (stamp !== (await stampOf(disk.files)) || this.#state === undefined) return false;
      if (changed.length > 0) {
        await this.#save(withPending(this.#state, changed));
        const commit = ['qemu-img', 'commit', '-q', '-d', '-f', 'qcow2', this.#deltaPath] as const;
        await this.#reader.programs.run(commit, how, signal);
        await syncFile(this.path);
      }
      await this.#save({ ...this.#state, stamp });
      return true;
    } finally {
      await rm(this.#deltaPath, { force: true });
    }
  }

  /** Leaves what differs in the overlay. */
  async #compare(disk: LiveDisk, how: How, signal: AbortSignal): Promise<readonly Extent[]> {
    const delta = this.#deltaPath;
    const size = String(roundUp(disk.capacityBytes));
    const run = (...command: [string, ...string[]]) => this.#reader.programs.run(command, how, signal);
    await run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', disk.qemuName, '-F', disk.format, delta, size);
    const mirror = qemuNameOf([{ path: this.path, format: 'raw' }], this.#reader.aio);
    await run('qemu-img', 'rebase', '-q', '-f', 'qcow2', '-b', mirror, '-F', 'raw', delta);
    const map = MapEntries.parse(JSON.parse(await run('qemu-img', 'map', '--output=json', '-f', 'qcow2', delta)));
    return map.flatMap(({ start, length, depth, present }) =>
      depth === 0 && present ? [{ offset: start, length }] : [],
    );
  }

  /**
   * Gives the mirror's content a change id. Only while the mirror equals the disk. The id may be told to others when
   * the returned promise has resolved: before, a power cut could lead to its being given to another state.
   */
  takeSnapshot(): Promise<string> {
    if (this.#state === undefined) throw new Error('a disk without a mirror cannot be snapshotted');
    const state = withSnapshot(this.#state);
    const durable = this.#save(state).then(() => changeIdOf(state));
    durable.catch(() => undefined); // whoever asks for the id learns of it
    return durable;
  }

  changedSince(changeId: string): readonly Extent[] | undefined {
    return this.#state === undefined ? undefined : changedSince(this.#state, changeId);
  }

  async dataExtents(signal: AbortSignal): Promise<readonly Extent[]> {
    const command = ['qemu-img', 'map', '--output=json', '-f', 'raw', this.path] as const;
    const map = MapEntries.parse(JSON.parse(await this.#reader.programs.run(command, {}, signal)));
    return map.flatMap(({ start, length, data }) => (data ? [{ offset: start, length }] : []));
  }
}
