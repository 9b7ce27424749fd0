import type { DiscoverReply, DiscoverRequest } from '#wire/node-api.ts';
import type { Extent } from './extents.ts';

/**
 * Where VMs come from: a vCenter, or a folder of disk images. Nothing behind the HTTP API knows which.
 * A snapshot is one point in time of all disks; what is written afterwards is not in it.
 */
export interface Source {
  /** Throws Refusal with the texts the hub recognises: `failed to connect to vCenter`, `failed to find datacenter`. */
  discover(request: DiscoverRequest, signal: AbortSignal): Promise<DiscoverReply>;
  /** The VM of an inventory path, `/DC1/vm/pgtest1`. Throws Refusal when there is none. */
  findVm(login: Login, vmPath: string, signal: AbortSignal): Promise<SourceVm>;
  /** How many disks' change maps are up to date; undefined where the source keeps them itself. */
  trackingState?(signal: AbortSignal): Promise<Readonly<{ disks: number; current: number }>>;
  close(): Promise<void>;
}

export type Login = Readonly<{ vcenter: string; username: string; password: string }>;

export interface SourceVm {
  /** Stable across restarts and renamings of the VM. */
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly disks: readonly Readonly<{ key: number; index: number; label: string; capacityBytes: number }>[];
  /** Removes snapshots of this VM whose names start with `prefix`, whoever left them. Content with none. */
  removeSnapshots(prefix: string, signal: AbortSignal): Promise<void>;
  /** Throws JobFailure `snapshot_failed` or `snapshot_not_stable`. */
  createSnapshot(name: string, signal: AbortSignal): Promise<Snapshot>;
}

export interface Snapshot {
  readonly name: string;
  readonly disks: readonly SnapshotDisk[];
  /** May be called twice. */
  remove(): Promise<void>;
}

export interface SnapshotDisk {
  readonly key: number;
  readonly index: number;
  readonly label: string;
  readonly capacityBytes: number;
  /** Names the state of this disk in this snapshot; resolves once that is on record for good. */
  changeId(): Promise<string>;
  /** nbdkit's plugin and its parameters that serve this disk, read-only. */
  readonly nbdkitPlugin: readonly [string, ...string[]];
  /** What changed from that id's state to this one's; undefined when unknown: then everything counts as changed. */
  changedSince(changeId: string): readonly Extent[] | undefined;
  /** Where the disk holds data; everything else reads as zeroes. */
  dataExtents(signal: AbortSignal): Promise<readonly Extent[]>;
}
