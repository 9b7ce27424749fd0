import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Extent } from '../../extents.ts';
import { readJson, writeJsonDurably } from '../../json-file.ts';
import { findDifference, type LiveDisk, parseMap, removeTemporaryFiles } from './difference.ts';
import type { Reader } from './image-info.ts';
import { changedSince, changeIdOf, MirrorState, newState, withPending, withSnapshot } from './mirror-state.ts';
import { haveLanded, type QuietStamp, quietStamp, stampOf, timesCanBeTrusted } from './stamp.ts';

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

/**
 * A private copy of one disk, brought up to date with what strangers wrote to the disk. It is three things at once:
 * the snapshot (nobody writes to it while a backup reads it), the reference that changes are found against, and,
 * with the log beside it, the memory of changed blocks.
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
  #unsynced = false;

  constructor(folder: string, reader: Reader) {
    this.#folder = folder;
    this.#reader = reader;
    this.path = join(folder, 'mirror.raw');
  }

  get #statePath() {
    return join(this.#folder, 'state.json');
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
    await removeTemporaryFiles(this.#folder);
    await rm(`${this.path}.partial`, { force: true });
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

  /** `equals`, when a comparison would not find out more. */
  async isKnownEqual(disk: LiveDisk): Promise<boolean> {
    return (await this.equals(disk)) && this.#state?.firm === true && (await timesCanBeTrusted(disk.path));
  }

  /** Whether a `sync` now is worth its while. */
  async wantsSync(disk: LiveDisk): Promise<boolean> {
    return !(await this.equals(disk)) || (this.#state?.firm === false && (await haveLanded(disk.files)));
  }

  /**
   * One attempt to make the mirror equal to the disk. False when the disk was written to meanwhile: the mirror is
   * then as it was, or, if it is new, a mixture that the next attempt repairs.
   */
  async sync(disk: LiveDisk, how: How, signal: AbortSignal): Promise<boolean> {
    const quiet = await quietStamp(disk.files, this.#reader.programs, signal);
    if (!(await this.belongsTo(disk))) return this.#create(disk, quiet, how, signal);
    return quiet !== undefined && this.#update(disk, quiet, how, signal);
  }

  async #create(disk: LiveDisk, quiet: QuietStamp | undefined, how: How, signal: AbortSignal): Promise<boolean> {
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
    const mirror = await birthOf(this.path);
    const state = newState({ identity, mirror, capacityBytes: disk.capacityBytes, stamp: null, firm: false });
    const equal = quiet !== undefined && quiet.stamp === (await stampOf(disk.files));
    await this.#save(equal ? { ...state, ...quiet } : state);
    return equal;
  }

  async #update(disk: LiveDisk, quiet: QuietStamp, how: How, signal: AbortSignal): Promise<boolean> {
    const mirrorSizeBytes = roundUp(disk.capacityBytes);
    const comparison = { disk, mirrorPath: this.path, mirrorSizeBytes, folder: this.#folder };
    try {
      const { extents, apply } = await findDifference(comparison, this.#reader, how, signal);
      const unchanged = async () => quiet.stamp === (await stampOf(disk.files));
      if (this.#state === undefined || !(await unchanged())) return false;
      if (extents.length > 0) {
        await this.#save(withPending(this.#state, extents));
        await apply();
        this.#unsynced = true;
        // Raw disks are read again by `apply`: written to meanwhile, the mirror is a mixture for the next attempt.
        if (!(await unchanged())) return false;
      }
      this.#state = { ...this.#state, ...quiet };
      return true;
    } finally {
      await removeTemporaryFiles(this.#folder);
    }
  }

  /** Puts on disk what `sync` found: the mirror first, then the stamp that says that it is equal. */
  async persist(): Promise<void> {
    if (this.#state === undefined) return;
    if (this.#unsynced) await syncFile(this.path);
    this.#unsynced = false;
    await this.#save(this.#state);
  }

  /**
   * Gives the mirror's content a change id. Only while the mirror equals the disk. The id may be told to others when
   * the returned promise has resolved: before, a power cut could lead to its being given to another state.
   */
  takeSnapshot(): Promise<string> {
    if (this.#state === undefined) throw new Error('a disk without a mirror cannot be snapshotted');
    const state = withSnapshot(this.#state);
    this.#state = state;
    const durable = this.persist().then(() => changeIdOf(state));
    durable.catch(() => undefined); // whoever asks for the id learns of it
    return durable;
  }

  changedSince(changeId: string): readonly Extent[] | undefined {
    return this.#state === undefined ? undefined : changedSince(this.#state, changeId);
  }

  async dataExtents(signal: AbortSignal): Promise<readonly Extent[]> {
    const command = ['qemu-img', 'map', '--output=json', '-f', 'raw', this.path] as const;
    const map = parseMap(await this.#reader.programs.run(command, {}, signal));
    return map.flatMap(({ start, length, data }) => (data ? [{ offset: start, length }] : []));
  }
}
