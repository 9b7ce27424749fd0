/** How a filesystem is mounted. */
export type MountMethod =
  /** By the kernel, from a block device. */
  | Readonly<{ by: 'kernel'; options: readonly string[] }>
  | Readonly<{ by: 'ntfs-3g' }>
  /** FAT where the kernel knows none: its files are copied into a folder of the hub. */
  | Readonly<{ by: 'copy' }>
  | Readonly<{ by: 'none'; reason: string }>;

/** Nothing inside a backup is ever run, or taken for a device of this host. */
export const safeOptions = ['ro', 'nosuid', 'nodev', 'noexec'] as const;

/**
 * - xfs refuses a second filesystem with the same id, which two backups of one disk are.
 * - btrfs: the top level, so that every subvolume shows, whichever is mounted by default.
 * - No `noload`, `norecovery` or `nologreplay`: files that were written before the backup may be in the journal alone. It
 *   is replayed into the overlay.
 */
const kernelOptions: Readonly<Record<string, readonly string[]>> = {
  ext2: [],
  ext3: [],
  ext4: [],
  xfs: ['nouuid'],
  btrfs: ['subvolid=5'],
  iso9660: [],
  udf: [],
  vfat: ['utf8', 'umask=022'],
  exfat: ['umask=022'],
  f2fs: [],
  jfs: [],
  reiserfs: [],
  squashfs: [],
  erofs: [],
};

const reasons: Readonly<Record<string, string>> = {
  '': 'no filesystem was recognised',
  swap: 'it is swap space',
  crypto_LUKS: 'it is encrypted (LUKS)',
  BitLocker: 'it is encrypted (BitLocker)',
  linux_raid_member: 'it is part of a RAID array',
  zfs_member: 'it is part of a ZFS pool',
  isw_raid_member: 'it is part of a RAID array',
};

/** `kernel`: filesystems that this kernel has or can load. */
export const methodFor = (filesystem: string, kernel: ReadonlySet<string>): MountMethod => {
  if (filesystem === 'ntfs') return { by: 'ntfs-3g' };
  const options = kernelOptions[filesystem];
  if (options && kernel.has(filesystem)) return { by: 'kernel', options };
  if (filesystem === 'vfat') return { by: 'copy' };
  if (options) return { by: 'none', reason: `the kernel of this host has no ${filesystem}` };
  return { by: 'none', reason: reasons[filesystem] ?? `${filesystem} cannot be mounted` };
};
