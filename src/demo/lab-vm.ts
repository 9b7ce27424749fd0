import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type LabDisk, makeLabDisk } from './lab-disk.ts';
import { createTools } from './tools.ts';

export type LabVm = Readonly<{ name: string; folder: string; datacenter: string; disks: readonly LabDisk[] }>;

export type LabVmSpec = Readonly<{ root: string; name: string; sizeBytes: number; scratchFolder: string }>;

const mib = 1024 ** 2;
const datacenter = 'lab';

const describe = (name: string, disks: readonly LabDisk[]): object => ({
  ...{ name, cpu_count: 2, memory_mb: 4096, guest_os: 'debian12_64Guest', power_state: 'poweredOn', datacenter },
  networks: [{ label: 'Network adapter 1', network_name: 'VM Network', mac_address: '00:50:56:00:00:01' }],
  disks: disks.map(({ path }) => ({ file: basename(path) })),
});

/** Makes a VM for the lab source: two thirds of its size on a raw disk, the rest on a qcow2 one. */
export const makeLabVm = async (spec: LabVmSpec, signal: AbortSignal): Promise<LabVm> => {
  const { root, name, sizeBytes, scratchFolder } = spec;
  const folder = join(root, name);
  await mkdir(folder, { recursive: true });
  const dataBytes = Math.floor(sizeBytes / 3 / mib) * mib;
  const place = { folder, scratchFolder, signal, run: createTools(signal) };
  const system = { index: 0, format: 'raw', capacityBytes: sizeBytes - dataBytes, label: `${name}-sys` } as const;
  const data = { index: 1, format: 'qcow2', capacityBytes: dataBytes, label: `${name}-data` } as const;
  // Settled, not raced: when this returns or throws, nobody writes into the folder any more.
  const made = await Promise.allSettled([makeLabDisk(system, place), makeLabDisk(data, place)]);
  const disks = made.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
  // Last: a node that looks at the folder meanwhile does not take it for a VM yet.
  await writeFile(join(folder, 'vm.json'), `${JSON.stringify(describe(name, disks), null, 2)}\n`);
  return { name, folder, datacenter, disks };
};
