import { createCipheriv, createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

/**
 * VMs for the lab source: folders with a vm.json and disks that hold a partition table and a real ext4 filesystem,
 * made without root. The same seed makes the same bytes.
 */
export type LabDisk = Readonly<{
  sizeBytes: number;
  /** Content of the filesystem's files: one half random, one quarter compressible, one quarter sparse. */
  dataBytes: number;
  format?: 'raw' | 'qcow2';
}>;

export type LabVmSpec = Readonly<{
  name: string;
  disks: readonly LabDisk[];
  seed?: string;
  folder?: string;
  datacenter?: string;
  guestOs?: string;
}>;

export type MadeVm = Readonly<{ name: string; folder: string; path: string; disks: readonly string[] }>;

const mib = 1024 ** 2;
const partitionOffset = mib;
const sectorBytes = 512;
const chunkBytes = 4 * mib;

/** A stream of bytes that depends on the seed alone, at the speed of AES. */
const randomSource = (seed: string) => {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16, 32));
  return (sizeBytes: number): Buffer => cipher.update(Buffer.alloc(sizeBytes));
};

const environment = () => ({ PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, E2FSPROGS_FAKE_TIME: '1760000000' });

const run = (file: string, args: readonly string[]) => execa(file, args, { env: environment(), stdin: 'ignore' });

const writeRepeated = async (path: string, sizeBytes: number, next: (bytes: number) => Buffer): Promise<void> => {
  const file = await open(path, 'w');
  try {
    for (let left = sizeBytes; left > 0; left -= chunkBytes) await file.write(next(Math.min(left, chunkBytes)));
  } finally {
    await file.close();
  }
};

const writeFiles = async (folder: string, dataBytes: number, seed: string): Promise<void> => {
  const random = randomSource(seed);
  const line = Buffer.from(`${seed}: a line of a log that says much the same as the one before\n`);
  const text = Buffer.alloc(chunkBytes, line);
  await mkdir(join(folder, 'etc'), { recursive: true });
  await mkdir(join(folder, 'var', 'log'), { recursive: true });
  await writeFile(join(folder, 'etc', 'hostname'), `${seed}\n`);
  await writeRepeated(join(folder, 'var', 'random.bin'), Math.floor(dataBytes / 2), random);
  await writeRepeated(join(folder, 'var', 'log', 'messages'), Math.floor(dataBytes / 4), (bytes) =>
    text.subarray(0, bytes),
  );
  const sparse = await open(join(folder, 'var', 'sparse.bin'), 'w');
  try {
    for (let at = 0; at < dataBytes / 4; at += 8 * mib) await sparse.write(random(mib), 0, mib, at);
    await sparse.truncate(Math.floor(dataBytes / 4));
  } finally {
    await sparse.close();
  }
};

/** A master boot record with one Linux partition: the twelve bytes that every tool reads. */
const masterBootRecord = (sizeBytes: number, seed: string): Buffer => {
  const record = Buffer.alloc(sectorBytes);
  createHash('sha256').update(seed).digest().copy(record, 440, 0, 4); // the disk's signature
  record.writeUInt8(0x83, 450);
  record.writeUInt32LE(partitionOffset / sectorBytes, 454);
  record.writeUInt32LE(Math.floor((sizeBytes - partitionOffset) / sectorBytes), 458);
  record.writeUInt16BE(0x55aa, 510);
  return record;
};

const uuidFrom = (seed: string): string => {
  const hex = createHash('sha256').update(seed).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
};

const makeRawDisk = async (path: string, { sizeBytes, dataBytes }: LabDisk, seed: string): Promise<void> => {
  const content = await mkdtemp(join(tmpdir(), 'lab-disk-'));
  try {
    await writeFiles(content, dataBytes, seed);
    const file = await open(path, 'w');
    await file.truncate(sizeBytes);
    await file.write(masterBootRecord(sizeBytes, seed), 0, sectorBytes, 0);
    await file.close();
    const uuid = uuidFrom(seed);
    const extended = `offset=${partitionOffset},hash_seed=${uuid},lazy_itable_init=1,lazy_journal_init=1`;
    const sizeKib = `${Math.floor((sizeBytes - partitionOffset) / 1024)}k`;
    await run('mke2fs', [
      '-q',
      '-F',
      '-t',
      'ext4',
      '-U',
      uuid,
      '-L',
      'lab',
      '-d',
      content,
      '-E',
      extended,
      path,
      sizeKib,
    ]);
  } finally {
    await rm(content, { recursive: true, force: true });
  }
};

const makeDisk = async (folder: string, index: number, disk: LabDisk, seed: string): Promise<string> => {
  const raw = join(folder, `disk-${index}.raw`);
  await makeRawDisk(raw, disk, `${seed}-${index}`);
  if (disk.format !== 'qcow2') return raw;
  const qcow2 = join(folder, `disk-${index}.qcow2`);
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
  await rm(raw);
  return qcow2;
};

export const makeLabVm = async (root: string, spec: LabVmSpec): Promise<MadeVm> => {
  const { name, disks, seed = name, datacenter = 'lab', guestOs = 'debian12_64Guest' } = spec;
  const folder = join(root, spec.folder ?? name);
  await mkdir(folder, { recursive: true });
  const files: string[] = [];
  for (const [index, disk] of disks.entries()) files.push(await makeDisk(folder, index, disk, seed));
  const description = {
    name,
    cpu_count: 2,
    memory_mb: 4096,
    guest_os: guestOs,
    power_state: 'poweredOn',
    datacenter,
    networks: [{ label: 'Network adapter 1', network_name: 'VM Network', mac_address: '00:50:56:00:00:01' }],
    disks: files.map((file) => ({ file: file.slice(folder.length + 1) })),
  };
  // Last: a node that looks at the folder meanwhile does not take it for a VM yet.
  await writeFile(join(folder, 'vm.json'), `${JSON.stringify(description, null, 2)}\n`);
  return { name, folder, path: `/${datacenter}/vm/${name}`, disks: files };
};

export type Change = Readonly<{
  count: number;
  sizeBytes: number;
  /** In every second extent the second half becomes zeroes. */
  zeroHalf?: boolean;
  seed?: string;
}>;
export type ChangedExtent = Readonly<{ offset: number; length: number; zeroedFrom?: number }>;

const isQcow2 = (disk: string) => disk.endsWith('.qcow2');

const capacityOf = async (disk: string): Promise<number> => {
  if (!isQcow2(disk)) return (await stat(disk)).size;
  const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', disk]);
  return Number(JSON.parse(stdout)['virtual-size']);
};

/** Ranges that hold data come first: zeroes written there are the ones that a wrong copy leaves out. */
const pickOffsets = async (disk: string, { count, sizeBytes }: Change): Promise<readonly number[]> => {
  const { stdout } = await run('qemu-img', ['map', '-U', '--output=json', '-f', isQcow2(disk) ? 'qcow2' : 'raw', disk]);
  const map: readonly { start: number; length: number; data: boolean }[] = JSON.parse(stdout);
  const slots = Math.floor(((await capacityOf(disk)) - partitionOffset) / sizeBytes) - 1;
  const all = Array.from({ length: slots }, (_, slot) => partitionOffset + slot * sizeBytes);
  const holdsData = (offset: number) =>
    map.some(({ start, length, data }) => data && start <= offset && offset + sizeBytes <= start + length);
  const chosen = [...all.filter(holdsData), ...all.filter((offset) => !holdsData(offset))];
  const full = Math.max(count, chosen.filter(holdsData).length);
  const step = Math.max(1, Math.floor(full / count));
  return Array.from({ length: count }, (_, index) => chosen[index * step] ?? 0).toSorted((a, b) => a - b);
};

const writeRaw = async (disk: string, extents: readonly ChangedExtent[], seed: string): Promise<void> => {
  const random = randomSource(seed);
  const file = await open(disk, 'r+');
  try {
    for (const { offset, length, zeroedFrom = length } of extents) {
      const data = random(length);
      data.fill(0, zeroedFrom);
      await file.write(data, 0, length, offset);
    }
    await file.datasync();
  } finally {
    await file.close();
  }
};

const writeQcow2 = async (disk: string, extents: readonly ChangedExtent[], seed: string): Promise<void> => {
  const pattern = (createHash('sha256').update(seed).digest()[0] ?? 0) % 254;
  const commands = extents.flatMap(({ offset, length, zeroedFrom = length }, index) => [
    ...['-c', `write -P ${1 + ((pattern + index) % 254)} ${offset} ${zeroedFrom}`],
    ...(zeroedFrom < length ? ['-c', `write -z ${offset + zeroedFrom} ${length - zeroedFrom}`] : []),
  ]);
  await run('qemu-io', ['-f', 'qcow2', ...commands, disk]);
};

/** Writes to a disk as a stranger would, spread over what holds data; resolves to what was written. */
export const changeExtents = async (disk: string, change: Change): Promise<readonly ChangedExtent[]> => {
  const { sizeBytes, zeroHalf = false, seed = 'change' } = change;
  const offsets = await pickOffsets(disk, change);
  const extents = offsets.map((offset, index) => ({
    offset,
    length: sizeBytes,
    ...(zeroHalf && index % 2 === 1 ? { zeroedFrom: sizeBytes / 2 } : {}),
  }));
  await (isQcow2(disk) ? writeQcow2 : writeRaw)(disk, extents, seed);
  return extents;
};
