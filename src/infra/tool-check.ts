import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { probeDiskIo } from './disk-io.ts';
import { chooseDriver, readHostFacts } from './mounts/mount-host.ts';

/** One thing that this host has or lacks. */
export type ToolFinding = Readonly<{
  name: string;
  /** `missing` keeps the main job from working, `limited` makes something slower or unavailable. */
  state: 'present' | 'limited' | 'missing';
  /** A version, a path, or what was found instead. */
  found: string;
  purpose: string;
  /** What its absence means; only if it is absent. */
  consequence?: string;
}>;

/** Its absence means `without`, and is `missing` if that is the main job. */
type Need = Readonly<{ name: string; purpose: string; without: string; state: 'limited' | 'missing' }>;
type Program = Need & Readonly<{ debianPackage: string; versionFlag: string }>;

const timeoutMs = 10_000;

const backups = { without: 'no backup can run', state: 'missing' } as const;
const fileRestore = { without: 'files cannot be restored out of backups', state: 'limited' } as const;
const demo = { without: 'the demo cannot make its virtual machine', state: 'limited' } as const;
const long = { versionFlag: '--version' } as const;

const programs: readonly Program[] = [
  { name: 'qemu-img', ...long, debianPackage: 'qemu-utils', purpose: 'creates and compares disk images', ...backups },
  { name: 'qemu-nbd', ...long, debianPackage: 'qemu-utils', purpose: 'exports disk images to write to', ...backups },
  { name: 'nbdkit', ...long, debianPackage: 'nbdkit', purpose: 'reads the disks to back up', ...backups },
  { name: 'nbdcopy', ...long, debianPackage: 'libnbd-bin', purpose: 'copies disks', ...backups },
  { name: 'nbdinfo', ...long, debianPackage: 'libnbd-bin', purpose: 'looks at exports', ...backups },
  {
    name: 'qemu-storage-daemon',
    ...long,
    debianPackage: 'qemu-system-common',
    purpose: 'shows a backup as a file',
    ...fileRestore,
  },
  { name: 'losetup', ...long, debianPackage: 'mount', purpose: 'makes partitions mountable', ...fileRestore },
  { name: 'blkid', ...long, debianPackage: 'util-linux', purpose: 'recognises filesystems', ...fileRestore },
  {
    name: 'ntfs-3g',
    ...long,
    debianPackage: 'ntfs-3g',
    purpose: 'mounts NTFS',
    without: 'files cannot be restored out of Windows disks',
    state: 'limited',
  },
  {
    name: 'mcopy',
    ...long,
    debianPackage: 'mtools',
    purpose: 'reads FAT where the kernel does not',
    without: 'FAT partitions are not shown on kernels without vfat',
    state: 'limited',
  },
  { name: 'sfdisk', ...long, debianPackage: 'fdisk', purpose: 'reads and writes partition tables', ...fileRestore },
  { name: 'mkfs.ext4', versionFlag: '-V', debianPackage: 'e2fsprogs', purpose: 'makes filesystems', ...demo },
  {
    name: 'setpriv',
    ...long,
    debianPackage: 'util-linux',
    purpose: 'lets PostgreSQL run as an ordinary user and end with the hub',
    without: 'root cannot start the embedded PostgreSQL: set SENDENSE_DATABASE',
    state: 'limited',
  },
];

/** A device file or a file that has to be there with these rights. */
type Device = Need & Readonly<{ path: string; mode: number }>;

const readWrite = constants.R_OK | constants.W_OK;
const devices: readonly Device[] = [
  { name: 'loop devices', path: '/dev/loop-control', mode: readWrite, purpose: 'mount a partition', ...fileRestore },
  { name: 'FUSE', path: '/dev/fuse', mode: readWrite, purpose: 'shows a backup as a file', ...fileRestore },
  {
    name: 'kernel NBD',
    path: '/sys/module/nbd',
    mode: constants.F_OK,
    purpose: 'attaches exports as block devices',
    without: 'file restore goes through qemu-storage-daemon, FUSE and loop devices instead',
    state: 'limited',
  },
];

const finding = ({ name, purpose, without, state }: Need, found: string | undefined, absent: string): ToolFinding =>
  found === undefined
    ? { name, state, found: absent, purpose, consequence: without }
    : { name, state: 'present', found, purpose };

/** mkfs.ext4 and some others tell their version on stderr. A program that cannot be asked for it counts as absent. */
const checkProgram = async (program: Program): Promise<ToolFinding> => {
  const options = { all: true, reject: false, stdin: 'ignore', timeout: timeoutMs } as const;
  const { all = '', failed } = await execa(program.name, [program.versionFlag], options);
  const version = failed ? undefined : (/\d+(\.\d+)+/.exec(all)?.[0] ?? 'unknown version');
  return finding(program, version, `not found (Debian package ${program.debianPackage})`);
};

const checkDevice = async (device: Device): Promise<ToolFinding> => {
  const allowed = await access(device.path, device.mode).then(
    () => true,
    () => false,
  );
  return finding(device, allowed ? device.path : undefined, `${device.path} is absent or not allowed`);
};

/** Which way disks would be mounted, and why. */
const checkMounts = async (): Promise<ToolFinding> => {
  const { driver, reason } = chooseDriver(await readHostFacts(), 'auto');
  const purpose = 'mounts backups for file restore';
  return driver === null
    ? { name: 'mount driver', state: 'limited', found: reason, purpose, consequence: fileRestore.without }
    : { name: 'mount driver', state: 'present', found: `${driver}: ${reason}`, purpose };
};

/** Incremental backups read the changed extents through it; some distributions split nbdkit's filters off. */
const checkExtentFilter = async (): Promise<ToolFinding> => {
  const { stdout = '' } = await execa('nbdkit', ['--dump-config'], {
    reject: false,
    stdin: 'ignore',
    timeout: timeoutMs,
  });
  const folder = /^filterdir=(.*)$/m.exec(stdout)?.[1] ?? '/usr/lib/nbdkit/filters';
  return checkDevice({
    name: 'nbdkit extentlist filter',
    path: join(folder, 'nbdkit-extentlist-filter.so'),
    mode: constants.R_OK,
    purpose: 'reads only what changed',
    without: 'no incremental backup can run',
    state: 'missing',
  });
};

const checkDiskIo = async (dir: string): Promise<ToolFinding> => {
  const { aio, direct } = await probeDiskIo(dir);
  const fast = direct && aio !== 'threads';
  return {
    name: 'disk I/O',
    state: fast ? 'present' : 'limited',
    found: `${aio}, ${direct ? 'O_DIRECT' : 'no O_DIRECT'} in ${dir}`,
    purpose: 'writes backups past the page cache',
    ...(fast ? {} : { consequence: 'backups take two to three times as long' }),
  };
};

/** Looks at everything that the product needs of its host; backups would be written to `dir`. */
export const checkTools = (dir: string): Promise<readonly ToolFinding[]> =>
  Promise.all([
    ...programs.map(checkProgram),
    checkExtentFilter(),
    checkDiskIo(dir),
    checkMounts(),
    ...devices.map(checkDevice),
  ]);
