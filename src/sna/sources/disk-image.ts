import { createHash, timingSafeEqual } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Programs } from '../programs.ts';
import { Refusal } from '../refusal.ts';
import type { Login, Source, SourceVm } from '../source.ts';
import { Catalog, type LiveVm } from './disk-image/catalog.ts';
import { discoveredVm, matchesFilter } from './disk-image/discovery.ts';
import { probeReader } from './disk-image/image-info.ts';
import { diskLabel, type SnapshotLimits } from './disk-image/tracked-vm.ts';
import { Tracker } from './disk-image/tracker.ts';
import { firstDiskKey } from './disk-image/vm-file.ts';

/**
 * The lab source: a folder of VMs, each a folder with a `vm.json` and raw or qcow2 disks which strangers write to.
 *
 * Snapshots and change tracking rest on a private, up-to-date copy of every disk in the node's data folder (a clone
 * where the filesystem has them), so a tracked VM takes its space twice. What is promised:
 * - A backup holds all disks as they were at one moment, as if the power had failed then. Disks that are written to
 *   without any pause long enough to compare them have no such moment: the backup fails and says so.
 * - What is written after that moment belongs to the next backup.
 * - No change is missed, by whatever means it was written, on ext4, xfs, btrfs and overlayfs, where inode and ctime tell
 *   that nothing was written; elsewhere every backup compares in full. A disk that was replaced or resized is a new one.
 */
export type DiskImageOptions = Readonly<{
  root: string;
  dataDir: string;
  /** When set, discovery and backups need this login. */
  login?: Readonly<{ username: string; password: string }>;
  pollMs: number;
  snapshot: SnapshotLimits;
}>;

const probeTimeoutMs = 20_000;

const digest = (text: string) => createHash('sha256').update(text).digest();
const same = (a: string, b: string) => timingSafeEqual(digest(a), digest(b));

const notFound = (vmPath: string, skipped: readonly string[]): string =>
  skipped.length === 0 ? `VM not found: ${vmPath}` : `VM not found: ${vmPath}; unusable folders: ${skipped.join(', ')}`;

export const createDiskImageSource = async (
  options: DiskImageOptions,
  programs: Programs,
  log: Logger,
): Promise<Source> => {
  const folder = join(options.dataDir, 'mirrors');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const reader = await probeReader(options.dataDir, programs, AbortSignal.timeout(probeTimeoutMs));
  const catalog = new Catalog(options.root, reader, log);
  const tracker = new Tracker(catalog, reader, log, { folder, pollMs: options.pollMs });
  await tracker.start();

  const checkLogin = ({ username, password }: Omit<Login, 'vcenter'>) => {
    const { login } = options;
    if (login === undefined || (same(username, login.username) && same(password, login.password))) return;
    throw new Refusal(
      500,
      'failed to connect to vCenter: Cannot complete login due to an incorrect user name or password.',
    );
  };

  const sourceVm = (vm: LiveVm): SourceVm => ({
    id: vm.id,
    name: vm.spec.name,
    path: vm.path,
    disks: vm.disks.map(({ capacityBytes }, index) => ({
      key: firstDiskKey + index,
      index,
      label: diskLabel(index),
      capacityBytes,
    })),
    removeSnapshots: async (prefix) => {
      const tracked = tracker.of(vm.id);
      if (tracked.snapshotName?.startsWith(prefix)) await tracked.removeSnapshot();
    },
    createSnapshot: (name, signal) => tracker.of(vm.id).createSnapshot(name, vm, options.snapshot, signal),
  });

  return {
    discover: async ({ vcenter, username, password, datacenter, filter }, signal) => {
      checkLogin({ username, password });
      const vms = (await catalog.list(signal)).filter(({ spec }) => spec.datacenter === datacenter);
      if (vms.length === 0) throw new Refusal(500, `failed to find datacenter '${datacenter}'`);
      const wanted = vms.filter((vm) => matchesFilter(vm, filter));
      return { vcenter: { host: vcenter, datacenter }, vms: wanted.map(discoveredVm) };
    },
    findVm: async (login, vmPath, signal) => {
      checkLogin(login);
      const vm = (await catalog.list(signal)).find(({ path }) => path === vmPath);
      if (vm === undefined) throw new Refusal(400, notFound(vmPath, catalog.skipped));
      return sourceVm(vm);
    },
    trackingState: (signal) => tracker.state(signal),
    close: () => tracker.stop(),
  };
};
