import { createHash } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { z } from 'zod';

const plainName = z
  .string()
  .min(1)
  .max(255)
  // A name is one segment of an inventory path.
  .regex(/^[^/\p{Cc}]+$/u, 'must not hold a slash or a control character');

/** `<root>/<folder>/vm.json` */
const VmFile = z.object({
  name: plainName,
  cpu_count: z.number().int().positive().default(1),
  memory_mb: z.number().int().positive().default(1024),
  guest_os: z.string().default(''),
  power_state: z.string().default('poweredOn'),
  datacenter: plainName.default('lab'),
  networks: z
    .array(
      z.object({
        label: z.string(),
        network_name: z.string(),
        mac_address: z.string().default(''),
        adapter_type: z.string().default('vmxnet3'),
        connected: z.boolean().default(true),
      }),
    )
    .default([]),
  disks: z.array(z.object({ file: z.string().min(1), format: z.enum(['raw', 'qcow2']).optional() })).min(1),
});
export type VmFile = z.infer<typeof VmFile>;

export type ImageFormat = 'raw' | 'qcow2';
export type DiskFile = Readonly<{ file: string; path: string; format: ImageFormat }>;
export type LabVm = Readonly<{ id: string; folder: string; path: string; spec: VmFile; disks: readonly DiskFile[] }>;

export const firstDiskKey = 2000;

/** From the folder's name: the same after a restart, on another port, and when the root is moved. */
export const vmIdOf = (folderName: string): string => {
  const hex = createHash('sha256').update(`sendense lab vm\n${folderName}`).digest('hex');
  // RFC 9562 version 8: a UUID from an own scheme.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
};

/**
 * The format never comes from the content: a guest can write a qcow2 header that names a file of this host into its
 * raw disk.
 */
const formatOf = ({ file, format }: VmFile['disks'][number]): ImageFormat =>
  format ?? (extname(file).toLowerCase() === '.qcow2' ? 'qcow2' : 'raw');

/** Resolved after symlinks; throws when the file is not inside the folder. */
export const insideFolder = async (folder: string, file: string): Promise<string> => {
  const path = await realpath(join(folder, file)).catch((cause: NodeJS.ErrnoException) => {
    throw new Error(`disk file '${file}' cannot be opened: ${cause.code}`, { cause });
  });
  if (!path.startsWith((await realpath(folder)) + sep)) throw new Error(`disk file '${file}' lies outside the folder`);
  if (!(await stat(path)).isFile()) throw new Error(`disk file '${file}' is not a file`);
  return path;
};

/** Throws with a reason for the administrator when the folder is not a usable VM. */
export const readVmFolder = async (folder: string, folderName: string): Promise<LabVm> => {
  const spec = VmFile.safeParse(JSON.parse(await readFile(join(folder, 'vm.json'), 'utf8')));
  if (!spec.success) throw new Error(`vm.json: ${z.prettifyError(spec.error).replaceAll('\n', ' ')}`);
  const disks = await Promise.all(
    spec.data.disks.map(async (disk) => ({
      file: disk.file,
      path: await insideFolder(folder, disk.file),
      format: formatOf(disk),
    })),
  );
  if (new Set(disks.map(({ path }) => path)).size !== disks.length) throw new Error('two disks are one file');
  const { datacenter, name } = spec.data;
  return { id: vmIdOf(folderName), folder, path: `/${datacenter}/vm/${name}`, spec: spec.data, disks };
};
