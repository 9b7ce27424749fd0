import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { chmod, chown, cp, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BackupApi } from './backup-api.ts';
import { eventually } from './eventually.ts';
import { type Call, callTo, startHub } from './hub-process.ts';
import { compare, filesBelow, withSideFiles } from './images.ts';
import { type LabDisk, type MadeVm, makeLabVm } from './lab-vm.ts';
import { findLeftovers } from './leftovers.ts';
import { type Brake, makeBrake, startNode } from './node-process.ts';
import { isProgram, processesOf, signalProcess } from './processes.ts';
import type { Program, SystemUser } from './program.ts';
import { openTunnel, type Tunnel } from './tunnel.ts';
import type { WireBackup } from './wire.ts';

export const mib = 1024 ** 2;

export const twoDisks: readonly LabDisk[] = [
  { sizeBytes: 96 * mib, dataBytes: 32 * mib },
  { sizeBytes: 64 * mib, dataBytes: 24 * mib, format: 'qcow2' },
];

export type WorldOptions = Readonly<{
  settings?: Readonly<Record<string, string>>;
  disks?: readonly LabDisk[];
  portCount?: number;
  /** As whom the hub runs, if not as whoever runs the tests. What it writes to is made for it. */
  hubUser?: SystemUser | undefined;
}>;

/** Copies of a VM's disks as they were at one moment, to compare a backup with. */
export type Kept = readonly string[];

/**
 * A hub, a node appliance and a VM with two disks, as separate processes with a tunnel between them in each direction:
 * both may be killed and come back on other ports. Everything lives in one folder.
 */
export class World extends BackupApi {
  readonly folder: string;
  readonly repositoryPath: string;
  readonly call: Call;
  readonly brake: Brake;
  readonly toHub: Tunnel;
  readonly toNode: Tunnel;
  readonly firstPort: number;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #portCount: number;
  readonly #hubUser: SystemUser | undefined;
  #hub: Program | undefined;
  #node: Program | undefined;
  #keptCopies = 0;
  readonly #stopped = new Set<number>();
  repositoryId = '';
  vm: MadeVm = { name: '', folder: '', path: '', disks: [] };

  private constructor(folder: string, brake: Brake, tunnels: readonly [Tunnel, Tunnel], options: WorldOptions) {
    super();
    this.folder = folder;
    this.brake = brake;
    [this.toHub, this.toNode] = tunnels;
    this.repositoryPath = join(folder, 'repository');
    this.#settings = options.settings ?? {};
    this.#portCount = options.portCount ?? 20;
    this.#hubUser = options.hubUser;
    // Below the ports that the kernel hands out by itself; hubs side by side rarely meet, and pass one another when they do.
    this.firstPort = 20_000 + 20 * randomInt(600);
    this.call = callTo(() => this.hub.url);
  }

  static async open(options: WorldOptions = {}): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'e2e-'));
    await chmod(folder, 0o711); // PostgreSQL runs as another user when the tests run as root
    for (const name of ['tmp', 'vms', 'kept']) await mkdir(join(folder, name));
    await chmod(join(folder, 'tmp'), 0o1777);
    const world = new World(folder, await makeBrake(folder), [await openTunnel(), await openTunnel()], options);
    try {
      await world.#begin(options);
      return world;
    } catch (error) {
      await world.#abandon();
      throw error;
    }
  }

  async #begin({ disks = twoDisks }: WorldOptions): Promise<void> {
    this.vm = await makeLabVm(this.vms, { name: 'pgtest1', disks });
    if (this.#hubUser) {
      const { uid, gid } = this.#hubUser;
      for (const path of [this.hubData, this.repositoryPath]) {
        await mkdir(path);
        await chown(path, uid, gid);
      }
    }
    await Promise.all([this.startHub(), this.startNode()]);
    this.repositoryId = await this.addRepository('primary', this.repositoryPath);
    const credential = {
      ...{ credential_name: 'lab', vcenter_host: 'lab', username: 'lab', password: 'lab-password' },
      datacenter: 'lab',
    };
    assert.equal((await this.call('POST', '/vmware-credentials', { body: credential })).status, 200);
    await this.addVms([this.vm.name]);
  }

  get vms(): string {
    return join(this.folder, 'vms');
  }

  get hubData(): string {
    return join(this.folder, 'hub');
  }

  get hub(): Program {
    assert.ok(this.#hub, 'the hub runs');
    return this.#hub;
  }

  get node(): Program {
    assert.ok(this.#node, 'the node runs');
    return this.#node;
  }

  /** Starts the hub, for the first time or again on the same data. */
  async startHub(settings: Readonly<Record<string, string>> = {}): Promise<Program> {
    const ports = `${this.firstPort}-${this.firstPort + this.#portCount - 1}`;
    const restores = { SENDENSE_RESTORE_DIR: join(this.folder, 'restore') };
    const all = { SENDENSE_NBD_PORTS: ports, ...restores, ...this.#settings, ...settings };
    const where = { folder: this.folder, dataDir: this.hubData, snaUrl: this.toNode.url, user: this.#hubUser };
    this.#hub = await startHub({ ...where, settings: all });
    this.toHub.leadTo(this.#hub.url);
    return this.#hub;
  }

  async startNode(): Promise<Program> {
    const where = { folder: this.folder, dataDir: join(this.folder, 'node'), root: this.vms };
    this.#node = await startNode({ ...where, hubUrl: this.toHub.url, programs: this.brake.path });
    this.toNode.leadTo(this.#node.url);
    return this.#node;
  }

  async killHub(): Promise<void> {
    await this.hub.kill();
    this.#hub = undefined;
    // A store that outlives its hub would be found by the next one: it has to end by itself.
    await eventually('the embedded stores end with their hub', async () => {
      const left = await processesOf(this.hubData);
      const staying = ['qemu-nbd', 'qemu-storage-daemon'].map(isProgram);
      return left.every((found) => staying.some((stays) => stays(found)));
    });
  }

  async stopHub(): Promise<void> {
    const { hub } = this;
    this.#hub = undefined;
    const { exitCode } = await hub.stop();
    if (exitCode !== 0) assert.fail(`the hub did not stop in order, ${exitCode}: ${(await hub.log()).slice(-3000)}`);
  }

  async stopNode(): Promise<void> {
    const { node } = this;
    this.#node = undefined;
    const { exitCode } = await node.stop();
    if (exitCode !== 0) assert.fail(`the node did not stop in order, ${exitCode}: ${(await node.log()).slice(-3000)}`);
  }

  async killNode(): Promise<void> {
    await this.node.kill();
    this.#node = undefined;
  }

  /** The disks as they are now. Nobody may write to them meanwhile. */
  async keep(): Promise<Kept> {
    const folder = join(this.folder, 'kept', String(this.#keptCopies++));
    await cp(this.vm.folder, folder, { recursive: true });
    return this.vm.disks.map((disk) => join(folder, disk.slice(this.vm.folder.length + 1)));
  }

  async assertIdentical({ disk_results: disks }: WireBackup, kept: Kept): Promise<void> {
    assert.equal(disks.length, kept.length);
    for (const [index, { qcow2_path: image }] of disks.entries()) {
      assert.equal(await compare(image, kept[index] ?? ''), '', `disk ${index}`);
    }
  }

  /** Until some of a backup's data is in every image, so that whatever happens next happens in the middle. */
  async inTheMiddle({ disk_results: disks, backup_type: type }: WireBackup): Promise<void> {
    // An empty base takes 3 MiB and an empty overlay 1.5 MiB where the filesystem keeps their zeroes.
    const emptyBytes = (type === 'full' ? 3.25 : 1.75) * mib;
    for (const { qcow2_path: path } of disks) {
      await eventually(`data arrives in ${path}`, async () => (await stat(path)).blocks * 512 > emptyBytes + 0.5 * mib);
    }
  }

  /** A backup that is held in its middle: release the brake to let it go on. */
  async startSlowly(type: 'full' | 'incremental'): Promise<WireBackup> {
    await this.brake.on();
    const backup = await this.start(type);
    await this.inTheMiddle(backup);
    return backup;
  }

  pidsOf(name: string): Promise<readonly number[]> {
    return processesOf(this.folder).then((all) => all.filter(isProgram(name)).map(({ pid }) => pid));
  }

  /** Stops a process in its tracks; whatever is not continued by the test is before the world ends. */
  freeze(pid: number): void {
    signalProcess(pid, 'SIGSTOP');
    this.#stopped.add(pid);
  }

  thaw(pid: number): void {
    this.#stopped.delete(pid);
    signalProcess(pid, 'SIGCONT');
  }

  /** No job holds anything any more, and the repositories contain what their completed backups need and nothing else. */
  async assertTidy(roots: readonly string[] = [this.repositoryPath]): Promise<void> {
    const ports = await this.call<{ allocated: number; allocations: unknown }>('GET', '/nbd/ports/status');
    assert.equal(ports.body.allocated, 0, JSON.stringify(ports.body.allocations));
    const exports = await this.call<{ processes: readonly unknown[] }>('GET', '/nbd/qemu-nbd/list');
    assert.deepEqual(exports.body.processes, []);
    await eventually('no program of a transfer is left', async () => (await this.programs()).length === 0, 10_000);
    const completed = (await this.list()).filter(({ status }) => status === 'completed');
    const shown = await Promise.all(completed.map(({ backup_id }) => this.show(backup_id)));
    const images = shown.flatMap(({ disk_results: disks }) => disks.map(({ qcow2_path: path }) => path));
    const expected = [...withSideFiles(images)];
    const found = await Promise.all(roots.map(filesBelow));
    assert.deepEqual(found.flat().sort(), expected.sort());
    assert.deepEqual(await readdir(join(this.hubData, 'exports')), [], 'files of exports');
    // The node gives its own up when it has told the hub, which it may be waiting to be asked again for.
    await eventually('files of transfers are gone', async () => {
      return (await readdir(join(this.folder, 'node', 'run')).catch(() => [])).length === 0;
    });
  }

  /** One number of the hub's metrics. */
  async metric(series: string): Promise<number> {
    const text = await (await fetch(`${this.hub.url}/metrics`)).text();
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
    assert.ok(line, `${series} is not in\n${text}`);
    return Number(line.slice(series.length + 1));
  }

  async programs(): Promise<readonly string[]> {
    const all = await processesOf(this.folder);
    return all
      .filter((found) => ['qemu-nbd', 'nbdcopy', 'nbdkit', 'qemu-img'].some((name) => isProgram(name)(found)))
      .map(({ commandLine }) => commandLine);
  }

  /** Stops hub and node, and fails when anything of theirs is left. */
  async close(): Promise<void> {
    try {
      for (const pid of this.#stopped) this.thaw(pid);
      await this.brake.off();
      if (this.#node) await this.stopNode();
      if (this.#hub) await this.stopHub();
      const left = await findLeftovers({ id: this.folder, dir: this.folder });
      const living = left.map(({ what }) => what).filter((what) => !what.startsWith('file or folder'));
      assert.deepEqual(living, [], 'nothing outlives hub and node');
      assert.deepEqual(await readdir(join(this.folder, 'tmp')), [], 'temporary files');
      const partial = (await filesBelow(this.folder)).filter((path) => path.endsWith('.partial'));
      assert.deepEqual(partial, [], 'half-written files');
    } finally {
      await this.#abandon();
    }
  }

  /** Whatever happened: no process and no file stays. */
  async #abandon(): Promise<void> {
    for (const { pid } of await processesOf(this.folder)) signalProcess(pid, 'SIGKILL');
    await Promise.all([this.toHub.close(), this.toNode.close()]);
    await eventually('all processes are gone', async () => (await processesOf(this.folder)).length === 0);
    await rm(this.folder, { recursive: true, force: true });
  }
}
