import { access, constants, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { MountAbility, MountHost } from '#commands/restore-mount-ports.ts';
import { mountSlotCount } from '#domain/mount-slots/mount-slots.ts';
import type { MountDriver } from '#domain/restore-mount/events.ts';
import { deviceOfSlot, isConnected } from './nbd-disk.ts';

/** What the choice of a driver is made from. */
export type HostFacts = Readonly<{
  /** Whether this process may mount: it is root, or has CAP_SYS_ADMIN. */
  privileged: boolean;
  /** Programs that are missing. */
  missing: ReadonlySet<string>;
  /** `/dev/nbd0` to `/dev/nbd7` are there and may be used. */
  nbdDevices: boolean;
  loopDevices: boolean;
  fuse: boolean;
}>;

export type DriverChoice = MountDriver | 'auto';

const common = ['mount', 'umount', 'losetup', 'sfdisk', 'blkid'] as const;
const programs = [...common, 'qemu-nbd', 'qemu-storage-daemon'] as const;

const packageOf: Readonly<Record<string, string>> = {
  sfdisk: 'fdisk',
  blkid: 'util-linux',
  'qemu-nbd': 'qemu-utils',
  'qemu-storage-daemon': 'qemu-system-common',
};

const lacking = (names: readonly string[], { missing }: HostFacts): readonly string[] =>
  names
    .filter((name) => missing.has(name))
    .map((name) => `${name} is not installed (Debian package ${packageOf[name] ?? 'mount'})`);

const nbdLacks = (facts: HostFacts): readonly string[] => [
  ...(facts.nbdDevices
    ? []
    : ['the kernel has no usable /dev/nbd0 to /dev/nbd7 (modprobe nbd nbds_max=16 max_part=16)']),
  ...lacking([...common, 'qemu-nbd'], facts),
];

const fuseLacks = (facts: HostFacts): readonly string[] => [
  ...(facts.fuse ? [] : ['/dev/fuse cannot be used']),
  ...(facts.loopDevices ? [] : ['/dev/loop-control cannot be used']),
  ...lacking([...common, 'qemu-storage-daemon'], facts),
];

/** The kernel's NBD where it is there, FUSE and loop devices elsewhere; or what keeps both from working. */
export const chooseDriver = (facts: HostFacts, wanted: DriverChoice): MountAbility => {
  if (!facts.privileged) {
    return {
      driver: null,
      reason: 'mounting needs root or CAP_SYS_ADMIN: run the hub as root, or give it the capability',
    };
  }
  const nbd = nbdLacks(facts);
  const fuse = fuseLacks(facts);
  if (wanted !== 'fuse' && nbd.length === 0)
    return { driver: 'nbd', reason: "disks are attached by the kernel's NBD client" };
  if (wanted !== 'nbd' && fuse.length === 0) {
    const why = wanted === 'fuse' ? 'it was chosen by setting' : nbd[0];
    return { driver: 'fuse', reason: `disks are shown as files by qemu-storage-daemon: ${why}` };
  }
  const reasons = wanted === 'nbd' ? nbd : wanted === 'fuse' ? fuse : [...fuse, ...nbd];
  return { driver: null, reason: reasons.join('; ') };
};

const may = (path: string, mode: number): Promise<boolean> =>
  access(path, mode).then(
    () => true,
    () => false,
  );

const isInstalled = async (program: string): Promise<boolean> => {
  const folders = (process.env.PATH ?? '').split(delimiter);
  return (await Promise.all(folders.map((folder) => may(join(folder, program), constants.X_OK)))).includes(true);
};

const capSysAdmin = 1n << 21n; // capabilities(7)

const isPrivileged = async (): Promise<boolean> => {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return effective !== undefined && (BigInt(`0x${effective}`) & capSysAdmin) !== 0n;
};

const readWrite = constants.R_OK | constants.W_OK;

export const readHostFacts = async (): Promise<HostFacts> => {
  const slots = Array.from({ length: mountSlotCount }, (_, slot) => slot);
  const [privileged, installed, devices, loopDevices, fuse] = await Promise.all([
    isPrivileged(),
    Promise.all(programs.map(isInstalled)),
    Promise.all(slots.map((slot) => may(deviceOfSlot(slot), readWrite))),
    may('/dev/loop-control', readWrite),
    may('/dev/fuse', readWrite),
  ]);
  const missing = new Set(programs.filter((_, index) => !installed[index]));
  return { privileged, missing, nbdDevices: !devices.includes(false), loopDevices, fuse };
};

type Options = Readonly<{
  /** Holds a private folder for each mount. */
  runtimeDir: string;
  /** Where mounts appear. */
  restoreDir: string;
  driver: DriverChoice;
  facts?: () => Promise<HostFacts>;
}>;

export const createMountHost = ({ runtimeDir, restoreDir, driver, facts = readHostFacts }: Options): MountHost => ({
  ability: async () => chooseDriver(await facts(), driver),
  occupiedSlots: async () => {
    const slots = Array.from({ length: mountSlotCount }, (_, slot) => slot);
    const connected = await Promise.all(slots.map((slot) => isConnected(slot)));
    return slots.filter((slot) => connected[slot]);
  },
  placeOf: (mountId, slot, used) => {
    const runtimeFolder = join(runtimeDir, mountId);
    const devicePath = used === 'nbd' ? deviceOfSlot(slot) : join(runtimeFolder, 'disk');
    return { mountPath: join(restoreDir, mountId), devicePath, runtimeFolder };
  },
  isReadable: (imagePath) => may(imagePath, constants.R_OK),
});
