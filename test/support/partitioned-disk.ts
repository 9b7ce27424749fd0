import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, rm, rmdir, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { eventually } from './eventually.ts';

/** What a partition is made to hold. */
export type PartitionKind =
  | 'ext4'
  | 'xfs'
  | 'btrfs'
  | 'ntfs'
  | 'vfat'
  | 'swap'
  | 'luks'
  | 'noise'
  | 'lvm'
  | 'corrupt-ext4';

export type PartitionSpec = Readonly<{ kind: PartitionKind; sizeMib: number; label?: string }>;

const mib = 1024 ** 2;
const sectorBytes = 512;

const run = (program: string, args: readonly string[], input?: string) =>
  execa(program, args, input === undefined ? { stdin: 'ignore' } : { input });

export type Stretch = Readonly<{ offset: number; size: number }>;

/** Runs `use` with a loop device over a part of a file. */
export const withLoop = async <T>(path: string, where: Stretch, use: (device: string) => Promise<T>): Promise<T> => {
  const place = ['--offset', `${where.offset}`, '--sizelimit', `${where.size}`];
  const { stdout: device } = await run('losetup', ['--find', '--show', ...place, path]);
  try {
    return await use(device);
  } finally {
    await run('losetup', ['--detach', device]);
  }
};

const makers: Readonly<Record<'ext4' | 'xfs' | 'btrfs' | 'ntfs' | 'vfat', (label: string) => readonly string[]>> = {
  ext4: (label) => ['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=1', '-L', label],
  xfs: (label) => ['mkfs.xfs', '-q', '-f', '-L', label],
  btrfs: (label) => ['mkfs.btrfs', '-q', '-f', '-L', label],
  ntfs: (label) => ['mkntfs', '-Q', '-q', '-F', '-L', label],
  vfat: (label) => ['mkfs.vfat', '-n', label],
};

export const makeFilesystem = (path: string, where: Stretch, kind: keyof typeof makers, label: string): Promise<void> =>
  withLoop(path, where, async (device) => {
    const [program = '', ...args] = makers[kind](label);
    // mkfs.btrfs looks through every mount of the host, and gives up at one whose server another test has just killed.
    await eventually(`${program} on ${device}`, () => run(program, [...args, device]));
  });

const write = async (path: string, at: number, content: Buffer): Promise<void> => {
  await using file = await open(path, 'r+');
  await file.write(content, 0, content.length, at);
};

/** Where the only logical volume of `lvm` begins, behind its partition's beginning. */
const logicalAt = mib;

const metadataOf = (sizeMib: number): string => `data-group {
id = "eTbsAq-KEwG-yLy8-gvRp-BML3-pGIK-Fd3RvI"
seqno = 2
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
extent_size = 2048
physical_volumes {
pv0 {
id = "SvMet0-zmWk-34oH-bcNw-gkBV-wAKD-PfLgs9"
device = "/dev/sda3"
pe_start = ${logicalAt / sectorBytes}
pe_count = ${sizeMib - 1}
}
}
logical_volumes {
home {
status = ["READ", "WRITE", "VISIBLE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = ${sizeMib - 1}
type = "striped"
stripe_count = 1
stripes = [
"pv0", 0
]
}
}
}
}
`;

/** lvm2's calc_crc: the usual polynomial from an unusual beginning; blkid believes no label without it. */
const labelChecksum = (bytes: Buffer): number => {
  let crc = 0xf5_97_a6_cf;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xed_b8_83_20 : 0);
  }
  return crc >>> 0;
};

/** A physical volume with one logical one in a single piece, byte for byte as lvm2 lays it out. */
const physicalVolume = (sizeMib: number): Buffer => {
  const text = Buffer.from(metadataOf(sizeMib));
  const image = Buffer.alloc(4096 + 512 + text.length);
  image.write('LABELONE', 512, 'latin1');
  image.writeBigUInt64LE(1n, 520);
  image.writeUInt32LE(32, 532);
  image.write('LVM2 001SvMet0zmWk34oHbcNwgkBVwAKDPfLgs9', 536, 'latin1');
  image.writeBigUInt64LE(BigInt(sizeMib * mib), 576);
  image.writeBigUInt64LE(BigInt(logicalAt), 584);
  image.writeBigUInt64LE(4096n, 616);
  image.writeBigUInt64LE(BigInt(logicalAt - 4096), 624);
  image.writeUInt32LE(labelChecksum(image.subarray(532, 1024)), 528);
  image.write(' LVM2 x[5A%r0N*>', 4100, 'latin1');
  image.writeUInt32LE(1, 4116);
  image.writeBigUInt64LE(4096n, 4120);
  image.writeBigUInt64LE(BigInt(logicalAt - 4096), 4128);
  image.writeBigUInt64LE(512n, 4136);
  image.writeBigUInt64LE(BigInt(text.length), 4144);
  text.copy(image, 4608);
  return image;
};

const fill = async (path: string, where: Stretch, { kind, label = kind }: PartitionSpec): Promise<void> => {
  switch (kind) {
    case 'swap':
      return withLoop(path, where, async (device) => void (await run('mkswap', [device])));
    case 'luks': {
      const header = Buffer.alloc(4096);
      header.write('LUKS\xba\xbe\0\x01aes', 0, 'latin1');
      header.write('3f1d9c2e-0000-4000-8000-000000000001', 168, 'latin1');
      return write(path, where.offset, header);
    }
    case 'noise':
      return write(path, where.offset, randomBytes(mib));
    case 'lvm':
      await write(path, where.offset, physicalVolume(where.size / mib));
      return makeFilesystem(path, volumeIn(where), 'ext4', 'home');
    case 'corrupt-ext4':
      await makeFilesystem(path, where, 'ext4', label);
      // Behind the superblock's first fields: it is recognised, and cannot be mounted.
      return write(path, where.offset + 1024 + 4, Buffer.alloc(16, 0xff));
    default:
      return makeFilesystem(path, where, kind, label.slice(0, 11));
  }
};

/** Where the filesystem of a `lvm` partition lies. */
export const volumeIn = ({ offset, size }: Stretch): Stretch => ({
  offset: offset + logicalAt,
  size: size - logicalAt,
});

/** Makes a raw disk with these partitions, sparse; returns where they are. `logical`: an MBR with all but three in an extended one. */
export const makePartitionedDisk = async (
  path: string,
  sizeMib: number,
  table: 'gpt' | 'dos',
  specs: readonly PartitionSpec[],
): Promise<readonly Stretch[]> => {
  await writeFile(path, '');
  await truncate(path, sizeMib * mib);
  const extended = table === 'dos' && specs.length > 4;
  const lines = specs.flatMap(({ sizeMib: size }, index) => [
    ...(extended && index === 3 ? ['type=5'] : []),
    `size=${size}M`,
  ]);
  await run('sfdisk', ['--quiet', path], [`label: ${table}`, ...lines].join('\n'));
  const { stdout } = await run('sfdisk', ['--json', path]);
  const { partitions } = JSON.parse(stdout).partitiontable as {
    partitions: readonly Readonly<{ start: number; size: number; type: string }>[];
  };
  const stretches = partitions
    .filter(({ type }) => type !== '5')
    .map(({ start, size }) => ({ offset: start * sectorBytes, size: size * sectorBytes }));
  for (const [index, where] of stretches.entries()) await fill(path, where, specs[index] as PartitionSpec);
  return stretches;
};

/** A filesystem of a disk that is in use: mounted for writing, as the VM has it. */
export const mountForWriting = async (path: string, where: Stretch, kind: PartitionKind) => {
  const folder = await mkdtemp(join(tmpdir(), 'in-use-'));
  const place = ['--offset', `${where.offset}`, '--sizelimit', `${where.size}`];
  const { stdout: device } = await run('losetup', ['--find', '--show', ...place, path]);
  if (kind === 'ntfs') await run('ntfs-3g', [device, folder]);
  else await run('mount', ['-t', kind, device, folder]);
  return {
    folder,
    unmount: async (): Promise<void> => {
      await run('umount', [folder]);
      await run('losetup', ['--detach', device]);
      await rmdir(folder);
    },
  };
};

/** Files whose content the kernel was told to keep, one by one. */
export const writeSynced = async (folder: string, count: number, seed: string): Promise<void> => {
  await mkdir(join(folder, seed), { recursive: true });
  for (let number = 0; number < count; number += 1) {
    await using file = await open(join(folder, seed, `file-${number}`), 'w');
    await file.write(contentOf(seed, number));
    await file.sync();
  }
  await using directory = await open(join(folder, seed), 'r');
  await directory.sync();
};

export const contentOf = (seed: string, number: number): string =>
  createHash('sha256').update(`${seed}-${number}`).digest('hex').repeat(64);

/** Puts a file onto a FAT, which no kernel is needed for. */
export const copyOntoFat = async (path: string, { offset }: Stretch, name: string, content: string): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'fat-'));
  try {
    await writeFile(join(folder, name), content);
    for (const each of await readdir(folder))
      await run('mcopy', ['-i', `${path}@@${offset}`, join(folder, each), '::']);
  } finally {
    await rm(folder, { recursive: true });
  }
};
