import { glob, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { freePort } from '../../src/demo/free-port.ts';
import { untilChangesAreTracked } from '../../src/demo/node-tracking.ts';
import { type RunningProgram, startProgram } from '../../src/demo/program.ts';
import { eventually } from '../support/eventually.ts';
import { type MadeVm, makeLabVm } from '../support/lab-vm.ts';
import type { Bench } from './benchmark.ts';
import type { JobChange } from './hub-api.ts';
import { type BenchHub, newHubPlace, setUpInventory, startHub } from './hub-program.ts';
import { prepareMachine } from './machine.ts';
import type { Watched } from './timeline.ts';

const mib = 1024 ** 2;
const nodeDataDir = 'node';

export type LabSizes = Readonly<{ diskBytes: number; dataBytes: number }>;

export type DoneBackup = Readonly<{
  backupId: string;
  /** From the request to the moment at which a client hears that it is completed. */
  tookMs: number;
  bytesTransferred: number;
  images: readonly string[];
  watched: Watched;
}>;

const Backup = z.object({
  backup_id: z.string(),
  status: z.string(),
  bytes_transferred: z.number(),
  disk_results: z.array(z.object({ disk_id: z.number(), qcow2_path: z.string() })),
});

/** What the bare scripts and the hub work on: a VM with two raw disks, a node that has it, and a hub. */
export type LabWorld = Readonly<{
  vm: MadeVm;
  hub: BenchHub;
  /** For the scripts' files, on the same filesystem as the repository. */
  scratch: string;
  diskBytes: number;
  /** What one full backup writes. */
  dataBytes: number;
  /** Waits until the node knows of all changes: its bookkeeping must not run beside a sample. */
  tracked: () => Promise<void>;
  /** Before each sample; `targetBytes`: what it will write. */
  prepare: (targetBytes: number) => Promise<void>;
  backUp: (type: 'full' | 'incremental') => Promise<DoneBackup>;
  /** Files and records. */
  remove: (backupId: string) => Promise<void>;
  close: () => Promise<void>;
}>;

const vmName = 'bench';

const storedBytes = async (path: string): Promise<number> => (await stat(path)).blocks * 512;

const startNode = (folder: string, hubPort: number, signal: AbortSignal): Promise<RunningProgram> => {
  const source = ['--source', 'disk-image', '--root', join(folder, 'vms'), '--data-dir', nodeDataDir];
  const addresses = ['--http', '127.0.0.1:0', '--hub', `http://127.0.0.1:${hubPort}`];
  const files = { folder, readyFile: join(nodeDataDir, 'node.json') };
  return startProgram({ name: 'node', args: ['node', ...source, ...addresses], ...files }, signal);
};

/** Reads changes until the job's of that type; the job's failure ends it. */
const untilChange = async (
  changes: AsyncIterator<JobChange>,
  wanted: string,
): Promise<Readonly<{ jobId: string; atMs: number }>> => {
  for (;;) {
    const { done, value } = await changes.next();
    if (done) throw new Error(`the stream of changes ended before ${wanted}`);
    if (value.type === 'BackupFailed') throw new Error(`${value.jobId} failed`);
    if (value.type === wanted) return { jobId: value.jobId, atMs: performance.now() };
  }
};

const Progress = z.object({ phases: z.array(z.object({ name: z.string(), duration_ms: z.number() })) });

const nodePhasesOf = async (nodeUrl: string, backupId: string): Promise<Watched['nodePhases']> => {
  const response = await fetch(`${nodeUrl}/api/v1/progress/${backupId}`);
  const { phases } = Progress.parse(await response.json());
  return phases.map(({ name, duration_ms }) => ({ name, durationMs: duration_ms }));
};

const backUpOnce = async (
  { hub: { api }, nodeUrl }: Readonly<{ hub: BenchHub; nodeUrl: string }>,
  request: Readonly<{ repositoryId: string; type: 'full' | 'incremental' }>,
): Promise<DoneBackup> => {
  const listening = new AbortController();
  const changes = (await api.changes(listening.signal))[Symbol.asyncIterator]();
  const body = { vm_name: vmName, repository_id: request.repositoryId, backup_type: request.type };
  try {
    const askedAtMs = Date.now();
    const startedAtMs = performance.now();
    const completed = untilChange(changes, 'BackupCompleted');
    completed.catch(() => undefined); // a refused request is told instead
    const { backup_id: backupId } = await api.call('POST /backups', body, Backup);
    const answeredAtMs = Date.now();
    const tookMs = (await completed).atMs - startedAtMs;
    // What the hub does after the end belongs to no sample.
    await untilChange(changes, 'BackupClosed');
    // Events come before the tables that a GET shows hold them.
    const backup = await eventually(`${backupId} is shown as completed`, async () => {
      const shown = await api.call(`GET /backups/${backupId}`, undefined, Backup);
      return shown.status === 'completed' && shown;
    });
    const images = backup.disk_results.toSorted((a, b) => a.disk_id - b.disk_id).map(({ qcow2_path }) => qcow2_path);
    const nodePhases = await nodePhasesOf(nodeUrl, backupId);
    const watched = { askedAtMs, answeredAtMs, nodePhases, events: await api.eventsOf(backupId) };
    return { backupId, tookMs, bytesTransferred: backup.bytes_transferred, images, watched };
  } finally {
    listening.abort();
  }
};

const openPrograms = async (folder: string, signal: AbortSignal) => {
  const port = await freePort();
  const node = await startNode(folder, port, signal);
  try {
    const hub = await startHub(newHubPlace({ folder, nodeUrl: node.url, port }), signal);
    return { node, hub };
  } catch (error) {
    await node.stop();
    throw error;
  }
};

export const openLabWorld = async (bench: Bench, sizes: LabSizes): Promise<LabWorld> => {
  const { folder, signal, say } = bench;
  const [root, scratch, repositoryFolder] = ['vms', 'scratch', 'repository'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [root, scratch]) await mkdir(path, { recursive: true });
  say(`making a VM with two raw disks of ${sizes.diskBytes / mib} MiB`);
  const disk = { sizeBytes: sizes.diskBytes, dataBytes: sizes.dataBytes };
  const vm = await makeLabVm(root, { name: vmName, disks: [disk, disk] });
  const { node, hub } = await openPrograms(folder, signal);
  const close = async () => {
    await node.stop();
    await hub.program.stop();
  };
  try {
    const repositoryId = await setUpInventory(hub.api, { repositoryFolder, vmNames: [vmName] });
    const tracked = () => untilChangesAreTracked(node.url, signal);
    await tracked();
    const mirrors = await Array.fromAsync(glob(join(folder, nodeDataDir, '**', 'mirror.raw')));
    const stored = await Promise.all(vm.disks.map(storedBytes));
    return {
      ...{ vm, hub, scratch, tracked, close, diskBytes: sizes.diskBytes },
      dataBytes: stored.reduce((sum, bytes) => sum + bytes, 0),
      prepare: async (targetBytes) => {
        await tracked();
        const targetPath = join(scratch, 'warm-up');
        await prepareMachine({ sources: [...vm.disks, ...mirrors], targetPath, targetBytes }, signal);
      },
      backUp: (type) => backUpOnce({ hub, nodeUrl: node.url }, { repositoryId, type }),
      remove: async (backupId) => {
        await eventually(`${backupId} is deleted`, () =>
          hub.api.call(`DELETE /backups/${backupId}`, undefined, z.looseObject({})),
        );
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
};
