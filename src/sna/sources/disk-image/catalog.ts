import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { LiveDisk } from './difference.ts';
import { type ImageInfo, qemuNameOf, type Reader, readQcow2Info } from './image-info.ts';
import { stampOf } from './stamp.ts';
import { type DiskFile, type LabVm, readVmFolder } from './vm-file.ts';

export type LiveVm = Omit<LabVm, 'disks'> & Readonly<{ disks: readonly LiveDisk[] }>;

/** The VMs of a folder, as they are now. A broken one is left out and its reason logged, once per reason. */
export class Catalog {
  readonly #root: string;
  readonly #reader: Reader;
  readonly #log: Logger;
  readonly #reasons = new Map<string, string>();
  // Asking qemu-img costs a process: again only when the file changed.
  readonly #infos = new Map<string, Readonly<{ stamp: string; info: ImageInfo }>>();

  constructor(root: string, reader: Reader, log: Logger) {
    this.#root = root;
    this.#reader = reader;
    this.#log = log;
  }

  async list(signal: AbortSignal): Promise<readonly LiveVm[]> {
    const folders = (await readdir(this.#root)).filter((name) => !name.startsWith('.')).toSorted();
    const vms = new Map<string, LiveVm>();
    for (const folder of folders) {
      const vm = await this.#read(folder, vms, signal);
      if (vm !== undefined) vms.set(vm.path, vm);
    }
    return [...vms.values()];
  }

  /** Why folders were left out of the last list. */
  get skipped(): readonly string[] {
    return [...this.#reasons].map(([folder, reason]) => `${folder} (${reason})`);
  }

  /** Folder names, usable or not: what is not among them is gone. */
  folders(): Promise<readonly string[]> {
    return readdir(this.#root);
  }

  async #read(name: string, others: ReadonlyMap<string, LiveVm>, signal: AbortSignal): Promise<LiveVm | undefined> {
    const folder = join(this.#root, name);
    try {
      if (!(await isVmFolder(folder))) return undefined;
      const vm = await readVmFolder(folder, name);
      const other = others.get(vm.path);
      if (other !== undefined) throw new Error(`'${vm.path}' is also in '${other.folder}'`);
      const disks = await Promise.all(vm.disks.map(async (disk) => this.#live(disk, folder, signal)));
      this.#reasons.delete(name);
      return { ...vm, disks };
    } catch (error) {
      signal.throwIfAborted();
      this.#tell(name, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  #tell(folder: string, reason: string) {
    if (this.#reasons.get(folder) === reason) return;
    this.#reasons.set(folder, reason);
    this.#log.warn({ folder, reason }, 'VM folder skipped');
  }

  async #live(disk: DiskFile, folder: string, signal: AbortSignal): Promise<LiveDisk> {
    const info = disk.format === 'raw' ? await rawInfo(disk, this.#reader) : await this.#qcow2(disk, folder, signal);
    if (info.capacityBytes === 0) throw new Error(`disk file '${disk.file}' is empty`);
    return { ...disk, ...info };
  }

  async #qcow2(disk: DiskFile, folder: string, signal: AbortSignal): Promise<ImageInfo> {
    const stamp = await stampOf([disk.path]);
    const known = this.#infos.get(disk.path);
    if (known?.stamp === stamp) return known.info;
    const info = await readQcow2Info(disk, folder, this.#reader, signal);
    this.#infos.set(disk.path, { stamp, info });
    return info;
  }
}

const isVmFolder = async (folder: string): Promise<boolean> =>
  (await stat(folder)).isDirectory() &&
  (await stat(join(folder, 'vm.json')).then(
    () => true,
    () => false,
  ));

const rawInfo = async ({ path, format }: DiskFile, { aio }: Reader): Promise<ImageInfo> => ({
  capacityBytes: (await stat(path)).size,
  files: [path],
  qemuName: qemuNameOf([{ path, format }], { aio, direct: false }),
});
