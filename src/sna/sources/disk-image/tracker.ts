import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Catalog, LiveVm } from './catalog.ts';
import type { Reader } from './image-info.ts';
import { TrackedVm } from './tracked-vm.ts';
import { vmIdOf } from './vm-file.ts';

export type TrackerOptions = Readonly<{ folder: string; pollMs: number }>;

const blockBytes = 512; // stat(2): st_blocks counts these
const restFactor = 2;
const longestPauseMs = 60_000;
// A first copy is not worth filling the disk for while no backup asked for it.
const shareOfFreeSpace = 0.5;

/**
 * Keeps all VMs' mirrors up to date in the background, so that a backup finds its change map ready, as a hypervisor's
 * tracking would have it. It reads disks only when they were written to, at a lower priority, a third of the time.
 */
export class Tracker {
  readonly #catalog: Catalog;
  readonly #reader: Reader;
  readonly #log: Logger;
  readonly #options: TrackerOptions;
  readonly #tracked = new Map<string, TrackedVm>();
  readonly #restUntilMs = new Map<string, number>();
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(catalog: Catalog, reader: Reader, log: Logger, options: TrackerOptions) {
    this.#catalog = catalog;
    this.#reader = reader;
    this.#log = log;
    this.#options = options;
  }

  /** As of now, not of the last round. */
  async state(signal: AbortSignal): Promise<Readonly<{ disks: number; current: number }>> {
    const vms = await this.#catalog.list(signal);
    const current = await Promise.all(vms.map((vm) => this.of(vm.id).currentDisks(vm)));
    return {
      disks: vms.reduce((sum, { disks }) => sum + disks.length, 0),
      current: current.reduce((sum, disks) => sum + disks, 0),
    };
  }

  of(vmId: string): TrackedVm {
    const known = this.#tracked.get(vmId);
    if (known !== undefined) return known;
    const tracked = new TrackedVm(join(this.#options.folder, vmId), this.#reader);
    this.#tracked.set(vmId, tracked);
    return tracked;
  }

  async start(): Promise<void> {
    await this.#forgetRemovedVms();
    this.#running = this.#loop();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** By folder, not by usable VM: a mistake in a vm.json must not cost the history. */
  async #forgetRemovedVms(): Promise<void> {
    const present = new Set((await this.#catalog.folders()).map(vmIdOf));
    const gone = (await readdir(this.#options.folder)).filter((id) => !present.has(id));
    await Promise.all(gone.map((id) => rm(join(this.#options.folder, id), { recursive: true, force: true })));
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#round(signal).catch((error: unknown) => {
        if (!signal.aborted) this.#log.warn({ err: error }, 'change tracking failed');
      });
      await delay(this.#options.pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const vms = await this.#catalog.list(signal);
    for (const vm of vms) await this.#catchUp(vm, signal);
  }

  async #catchUp(vm: LiveVm, signal: AbortSignal): Promise<void> {
    const tracked = this.of(vm.id);
    const startMs = performance.now();
    if (tracked.snapshotName !== undefined || startMs < (this.#restUntilMs.get(vm.id) ?? 0)) return;
    if (!(await tracked.wantsCatchUp(vm))) return;
    const unmirrored = await tracked.unmirroredFiles(vm);
    if (!(await this.#hasRoomFor(unmirrored))) return;
    try {
      await tracked.catchUp(vm, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#log.warn({ vm: vm.spec.name, err: error }, 'change tracking of a VM failed, it is tried again');
      this.#restUntilMs.set(vm.id, performance.now() + longestPauseMs);
      return;
    }
    const tookMs = performance.now() - startMs;
    // A first copy says nothing about how long comparing takes.
    if (unmirrored.length === 0)
      this.#restUntilMs.set(vm.id, performance.now() + Math.min(longestPauseMs, restFactor * tookMs));
  }

  async #hasRoomFor(unmirrored: readonly string[]): Promise<boolean> {
    const sizes = await Promise.all(unmirrored.map(async (path) => (await stat(path)).blocks * blockBytes));
    const { bavail, bsize } = await statfs(this.#options.folder);
    return sizes.reduce((sum, size) => sum + size, 0) <= shareOfFreeSpace * bavail * bsize;
  }
}
