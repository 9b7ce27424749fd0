import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { pino } from 'pino';
import { type NodeOptions, type RunningNode, runNode } from '#sna/main.ts';
import type { BackupStartRequest, HealthReply, ProgressReply } from '#wire/node-api.ts';
import { type LabVmSpec, type MadeVm, makeLabVm } from '../support/lab-vm.ts';
import { FakeHub } from './fake-hub.ts';
import { exportImage, type NbdExport } from './nbd-export.ts';
import { until } from './until.ts';

export const mib = 1024 ** 2;
const firstKey = 2000;

export type Answer = Readonly<{ status: number; text: string; type: string }>;

/** Processes that name the folder on their command line; the dead that nobody has reaped do not count. */
export const processesNaming = async (folder: string): Promise<readonly string[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name) && name !== String(process.pid));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(folder)).map((line) => line.replaceAll('\0', ' '));
};

const capacityOf = async (disk: string): Promise<number> => {
  const format = disk.endsWith('.qcow2') ? 'qcow2' : 'raw';
  const { stdout } = await execa('qemu-img', ['info', '-U', '-f', format, '--output=json', disk]);
  return Number(JSON.parse(stdout)['virtual-size']);
};

/** A folder of VMs, a fake hub with real exports, and nodes; everything ends with the test, and that is checked. */
export class Lab {
  readonly folder: string;
  readonly root: string;
  readonly dataDir: string;
  readonly repository: string;
  readonly hub = new FakeHub();
  readonly #exports: NbdExport[] = [];
  readonly #children: ((signal: NodeJS.Signals) => Promise<void>)[] = [];
  #processUrl: string | undefined;
  readonly #stop = new AbortController();
  node: RunningNode | undefined;
  #jobs = 0;

  private constructor(folder: string) {
    this.folder = folder;
    this.root = join(folder, 'vms');
    this.dataDir = join(folder, 'node');
    this.repository = join(folder, 'repository');
  }

  static async open(t: TestContext): Promise<Lab> {
    const lab = new Lab(await mkdtemp(join(tmpdir(), 'sna-')));
    await Promise.all([mkdir(lab.root), mkdir(lab.repository)]);
    await lab.hub.start();
    t.after(() => lab.#close());
    return lab;
  }

  async #close(): Promise<void> {
    try {
      await this.node?.close();
      await Promise.all(this.#children.map((end) => end('SIGKILL')));
      await Promise.all(this.#exports.map((served) => served.stop()));
      await this.hub.stop();
      await until(async () => (await processesNaming(this.folder)).length === 0);
      const left = await readdir(join(this.dataDir, 'run')).catch(() => []);
      assert.deepEqual(left, []);
    } finally {
      await rm(this.folder, { recursive: true, force: true });
    }
  }

  makeVm(spec: LabVmSpec): Promise<MadeVm> {
    return makeLabVm(this.root, spec);
  }

  async startNode(options: Partial<NodeOptions> = {}): Promise<RunningNode> {
    const http = { host: '127.0.0.1', port: 0 };
    const log = pino({ level: process.env.SENDENSE_TEST_LOG ?? 'silent' });
    const base = { root: this.root, dataDir: this.dataDir, hubUrl: this.hub.url, http, log, pollMs: 50 };
    this.node = undefined;
    this.node = await runNode({ ...base, ...options }, this.#stop.signal);
    return this.node;
  }

  /** A node in a process of its own; the caller ends it. */
  async startNodeProcess() {
    const http = { host: '127.0.0.1', port: 0 };
    const options = { root: this.root, dataDir: this.dataDir, hubUrl: this.hub.url, http, pollMs: 50 };
    const script = fileURLToPath(new URL('node-process.ts', import.meta.url));
    const child = execa(process.execPath, [script, JSON.stringify(options)], { reject: false, stdin: 'ignore' });
    // Not the child itself: it is a promise of its own end.
    const end = async (signal: NodeJS.Signals) => {
      child.kill(signal);
      await child;
    };
    this.#children.push(end);
    const announcement = join(this.dataDir, 'node.json');
    const { url, pid } = await until(async () => {
      const text = await readFile(announcement, 'utf8').catch(() => '{}');
      const found = JSON.parse(text) as { url?: string; pid?: number };
      return found.pid === child.pid ? found : undefined;
    });
    this.#processUrl = url;
    return { pid, end };
  }

  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const payload = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
    const response = await fetch(`${this.node?.url ?? this.#processUrl}/api/v1${path}`, {
      method,
      headers,
      ...payload,
    });
    const type = response.headers.get('content-type') ?? '';
    return { status: response.status, text: await response.text(), type };
  }

  async progress(jobId: string): Promise<ProgressReply> {
    return JSON.parse((await this.call('GET', `/progress/${jobId}`)).text) as ProgressReply;
  }

  /** Until every disk's change map is up to date. */
  tracked(disks: number, timeoutMs?: number): Promise<unknown> {
    return until(async () => {
      const health = JSON.parse((await this.call('GET', '/health')).text) as HealthReply;
      return health.change_tracking?.disks === disks && health.change_tracking.current === disks;
    }, timeoutMs);
  }

  /** Images and exports for all disks of a backup, over the images of an earlier one if it is incremental. */
  async prepare(vm: MadeVm, parents?: readonly NbdExport[], bytesPerSecond?: number): Promise<readonly NbdExport[]> {
    const number = ++this.#jobs;
    const served = await Promise.all(
      vm.disks.map(async (disk, index) => {
        const image = join(this.repository, `${vm.name}-${index}-${number}.qcow2`);
        const exportName = `${vm.name}-disk-${firstKey + index}`;
        const parent = parents?.[index]?.image;
        return exportImage(image, await capacityOf(disk), exportName, { parent, bytesPerSecond });
      }),
    );
    this.#exports.push(...served);
    return served;
  }

  request(vm: MadeVm, exports: readonly NbdExport[], more: Partial<BackupStartRequest> = {}): BackupStartRequest {
    return {
      job_id: `backup-${vm.name}-${this.#jobs}`,
      vm_name: vm.name,
      vcenter_host: 'lab',
      vcenter_user: 'user',
      vcenter_password: 'secret-word',
      vm_path: vm.path,
      nbd_targets: exports.map(({ uri }, index) => `${firstKey + index}:${uri}`).join(','),
      backup_type: 'full',
      ...more,
    };
  }

  incremental(vm: MadeVm, exports: readonly NbdExport[]): BackupStartRequest {
    return this.request(vm, exports, { backup_type: 'incremental', previous_change_id: 'PLACEHOLDER' });
  }

  /** Starts a job and waits for its end; the hub then knows the new change ids. */
  async backUp(request: BackupStartRequest, exports: readonly NbdExport[]): Promise<ProgressReply> {
    const answer = await this.call('POST', '/backup/start', request);
    assert.equal(answer.status, 200, answer.text);
    const ended = await until(async () => {
      const progress = await this.progress(request.job_id);
      return progress.status === 'in_progress' ? undefined : progress;
    }, 30_000);
    await Promise.all(exports.map((served) => served.stop()));
    for (const { backupId, body } of this.hub.completions) {
      if (backupId === request.job_id) this.hub.changeIds.set(body.disk_id, body.change_id);
    }
    return ended;
  }

  /** Until a job is in that phase and has moved something. */
  phase(jobId: string, name: string): Promise<unknown> {
    return until(async () => {
      const answer = await this.call('GET', `/progress/${jobId}`);
      if (answer.status !== 200) return false;
      const progress = JSON.parse(answer.text) as ProgressReply;
      return progress.phase === name && progress.bytes_transferred > 0;
    });
  }

  bytesOf(jobId: string): readonly number[] {
    const own = this.hub.completions.filter(({ backupId }) => backupId === jobId);
    return own.toSorted((a, b) => a.body.disk_id - b.body.disk_id).map(({ body }) => body.bytes_transferred);
  }

  /** The state of a VM's disks, to compare a backup with after they have changed. */
  async keep(vm: MadeVm, name: string): Promise<MadeVm> {
    const folder = join(this.folder, name);
    await cp(vm.folder, folder, { recursive: true });
    return { ...vm, folder, disks: vm.disks.map((disk) => join(folder, disk.slice(vm.folder.length + 1))) };
  }

  async assertIdentical(vm: MadeVm, exports: readonly NbdExport[]): Promise<void> {
    for (const [index, disk] of vm.disks.entries()) {
      const format = disk.endsWith('.qcow2') ? 'qcow2' : 'raw';
      const image = exports[index]?.image ?? '';
      const compare = ['compare', '-U', '-f', format, '-F', 'qcow2', disk, image];
      const { exitCode, stdout, stderr } = await execa('qemu-img', compare, { reject: false });
      assert.equal(exitCode, 0, `disk ${index}: ${stdout}${stderr}`);
    }
  }
}
