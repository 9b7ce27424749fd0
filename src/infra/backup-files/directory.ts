import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { DomainError } from '#domain/errors.ts';
import { holdBelow, holdRoot, mountOf } from './descriptors.ts';
import type { RawName } from './names.ts';

/** Where a walk must stay. */
type Bounds = Readonly<{ device: bigint; mount: string }>;

/**
 * An open directory. Its descriptor's number must not be used once it is closed, since the next thing that is opened gets it:
 * whoever still needs it holds it, and the last to let go closes it.
 */
export class Directory {
  readonly handle: FileHandle;
  readonly #bounds: Bounds;
  #holders = 1;

  private constructor(handle: FileHandle, bounds: Bounds) {
    this.handle = handle;
    this.#bounds = bounds;
  }

  /** `path` is the hub's own, not a client's. */
  static async openRoot(path: string): Promise<Directory> {
    const handle = await holdRoot(path);
    return closedOnFailure(handle, async () => {
      const [{ dev }, mount] = await Promise.all([handle.stat({ bigint: true }), mountOf(handle)]);
      return new Directory(handle, { device: dev, mount });
    });
  }

  /** Whatever it is, held and not opened. */
  async child(name: RawName): Promise<Readonly<{ handle: FileHandle; stats: BigIntStats }>> {
    const handle = await holdBelow(this.handle, name);
    return closedOnFailure(handle, async () => {
      const stats = await handle.stat({ bigint: true });
      const other = stats.dev !== this.#bounds.device && (await mountOf(handle)) !== this.#bounds.mount;
      if (other) throw new DomainError('path-outside-mount', 'Something else is mounted there.');
      return { handle, stats };
    });
  }

  /** Takes over the handle, which `child` gave and which is a directory. */
  adopt(handle: FileHandle): Directory {
    return new Directory(handle, this.#bounds);
  }

  /** Throws ENOTDIR when it is none (any more). */
  async enter(name: RawName): Promise<Directory> {
    const { handle, stats } = await this.child(name);
    if (stats.isDirectory()) return this.adopt(handle);
    await handle.close();
    throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR' });
  }

  hold(): this {
    if (this.#holders === 0) throw new Error('a directory was used after it was closed');
    this.#holders += 1;
    return this;
  }

  async release(): Promise<void> {
    this.#holders -= 1;
    if (this.#holders === 0) await this.handle.close();
  }
}

export const closedOnFailure = async <T>(handle: FileHandle, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    await handle.close();
    throw error;
  }
};
