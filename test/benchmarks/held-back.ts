import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { DiscoveredVm, DiscoverReply } from '#wire/node-api.ts';
import { eventually } from '../support/eventually.ts';
import { type NodeReply, type NodeRequest, startFakeNode } from '../support/fake-node.ts';
import type { Bench } from './benchmark.ts';
import type { HubApi } from './hub-api.ts';
import { type BenchHub, newHubPlace, setUpInventory, startHub } from './hub-program.ts';
import { untilIdle } from './machine.ts';
import type { Watched } from './timeline.ts';

const gib = 1024 ** 3;
const firstKey = 2000;

/** VMs at a node that takes every job at once and never begins it: what the hub does can be measured alone. */
export type HeldBackWorld = Readonly<{
  running: () => BenchHub;
  /** Stops the hub and starts it again on the same stores; returns the time from the start to its being ready. */
  restart: () => Promise<number>;
  start: (vmName: string) => Promise<StartedJob>;
  /** One report of a client, as from the middle of a transfer. */
  report: (backupId: string, bytesTransferred: number) => Promise<void>;
  /** The same report to a program elsewhere. */
  reportTo: (url: string, backupId: string, bytesTransferred: number) => Promise<void>;
  /** Ends jobs by their client's word; returns when the hub has freed all they had. */
  fail: (backupIds: readonly string[]) => Promise<void>;
  close: () => Promise<void>;
}>;

export type StartedJob = Readonly<{ backupId: string; tookMs: number; watched: () => Promise<Watched> }>;

export type HeldBackSpec = Readonly<{ vmNames: readonly string[]; diskBytes: number; disks: number }>;

const diskOf = (vmName: string, index: number, sizeBytes: number): DiscoveredVm['disks'][number] => ({
  ...{ id: `disk-${firstKey + index}`, label: `Hard disk ${index + 1}`, unit_number: index, datastore: 'lab' },
  ...{ path: `[lab] ${vmName}/${index}.vmdk`, vmdk_path: `[lab] ${vmName}/${index}.vmdk`, provisioning_type: 'thin' },
  ...{ size_gb: Math.ceil(sizeBytes / gib), capacity_bytes: sizeBytes },
});

const vmOf = (name: string, { diskBytes, disks }: HeldBackSpec): DiscoveredVm => ({
  ...{ id: `vm-${name}`, name, path: `/lab/vm/${name}`, datacenter: 'lab', power_state: 'poweredOn' },
  ...{ guest_os: 'linux', os_type: '', memory_mb: 4096, num_cpu: 2, cpus: 0, vmx_version: 'vmx-19' },
  ...{ display_name: name, annotation: '', folder_path: '/lab/vm', vmware_tools_status: '', vmware_tools_version: '' },
  disks: Array.from({ length: disks }, (_, index) => diskOf(name, index, diskBytes)),
  networks: [],
});

const JobBody = z.looseObject({ job_id: z.string() });

const answerFor =
  (spec: HeldBackSpec) =>
  ({ path, body }: NodeRequest): NodeReply => {
    if (path === '/api/v1/discover') {
      const vms = spec.vmNames.map((name) => vmOf(name, spec));
      return { json: { vcenter: { host: 'lab.local', datacenter: 'lab' }, vms } satisfies DiscoverReply };
    }
    if (path !== '/api/v1/backup/start' && path !== '/api/v1/backup/cancel') return { status: 404, text: 'not found' };
    const { job_id } = JobBody.parse(body);
    return { json: { job_id, status: 'started', message: '', started_at: new Date().toISOString(), pid: 1 } };
  };

const Started = z.object({ backup_id: z.string() });
const anything = z.looseObject({});

const startJob = async (api: HubApi, vmName: string, repositoryId: string): Promise<StartedJob> => {
  const body = { vm_name: vmName, repository_id: repositoryId, backup_type: 'full' };
  const askedAtMs = Date.now();
  const startedAtMs = performance.now();
  const { backup_id: backupId } = await api.call('POST /backups', body, Started);
  const tookMs = performance.now() - startedAtMs;
  const answeredAtMs = Date.now();
  return {
    backupId,
    tookMs,
    watched: async () => ({ askedAtMs, answeredAtMs, nodePhases: [], events: await api.eventsOf(backupId) }),
  };
};

const reportOf = (backupId: string, totalBytes: number, bytesTransferred: number): object => {
  const percent = Math.min(99, (bytesTransferred / totalBytes) * 100);
  const progress = { bytes_transferred: bytesTransferred, total_bytes: totalBytes, progress_percent: percent };
  return {
    ...{ job_id: backupId, job_type: 'backup', status: 'running', current_phase: 'transferring', ...progress },
    ...{ transfer_speed_bps: 100_000_000, eta_seconds: 60, timestamp: new Date().toISOString() },
    disks: [{ disk_index: 0, status: 'transferring', ...progress }],
  };
};

const failJobs = async (api: HubApi, backupIds: readonly string[]): Promise<void> => {
  const failure = { status: 'failed', error: 'the benchmark ends it' };
  for (const backupId of backupIds) await api.call(`POST /telemetry/backup/${backupId}`, failure, anything);
  for (const backupId of backupIds) {
    const closed = async () => (await api.eventsOf(backupId)).some(({ type }) => type === 'BackupClosed');
    await eventually(`${backupId} is closed`, closed, 60_000);
  }
};

/** Ids carry the second: within the one in which the last job of a VM began, the hub would have to look for a free one. */
export const untilNextSecond = (signal: AbortSignal): Promise<void> =>
  delay(1000 - (Date.now() % 1000), undefined, { signal });

export const openHeldBackWorld = async (bench: Bench, spec: HeldBackSpec): Promise<HeldBackWorld> => {
  const { folder, signal } = bench;
  const node = await startFakeNode(answerFor(spec));
  const place = newHubPlace({ folder, nodeUrl: node.url });
  let hub: BenchHub | undefined;
  const running = (): BenchHub => {
    if (!hub) throw new Error('the hub is stopped');
    return hub;
  };
  const close = async () => {
    await hub?.program.stop();
    await node.close();
  };
  try {
    hub = await startHub(place, signal);
    const inventory = { repositoryFolder: join(folder, 'repository'), vmNames: spec.vmNames };
    const repositoryId = await setUpInventory(hub.api, inventory);
    const totalBytes = spec.diskBytes * spec.disks;
    return {
      running,
      restart: async () => {
        await running().program.stop();
        hub = undefined;
        await untilIdle(signal);
        hub = await startHub(place, signal);
        return hub.readyAfterMs;
      },
      start: (vmName) => startJob(running().api, vmName, repositoryId),
      report: async (backupId, bytesTransferred) => {
        const report = reportOf(backupId, totalBytes, bytesTransferred);
        await running().api.call(`POST /telemetry/backup/${backupId}`, report, anything);
      },
      reportTo: async (url, backupId, bytesTransferred) => {
        const report = reportOf(backupId, totalBytes, bytesTransferred);
        await running().api.callAt(url, `POST /telemetry/backup/${backupId}`, report, anything);
      },
      fail: (backupIds) => failJobs(running().api, backupIds),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
};
