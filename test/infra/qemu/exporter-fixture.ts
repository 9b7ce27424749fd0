import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { createDiskImages } from '#infra/qemu/disk-images.ts';
import { createQemuNbd, type QemuNbd, type QemuNbdOptions } from '#infra/qemu/qemu-nbd.ts';
import type { StartExport } from '#process-managers/ports.ts';

export const neverAborted = new AbortController().signal;
const quiet = { info: () => undefined, warn: () => undefined };
const diskSizeBytes = 16 * 2 ** 20;

export const eventually = async (what: string, condition: () => Promise<boolean>): Promise<void> => {
  for (const deadline = Date.now() + 10_000; !(await condition()); await delay(5))
    if (Date.now() > deadline) assert.fail(`not within 10 s: ${what}`);
};

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      assert.ok(address !== null && typeof address === 'object');
      server.close(() => resolve(address.port));
    });
  });

/** The arguments of every process that names this folder, by pid. */
export const processesNaming = async (path: string): Promise<ReadonlyMap<number, readonly string[]>> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
      return [Number(pid), args] as const;
    }),
  );
  return new Map(found.filter(([, args]) => args.some((arg) => arg.includes(path))));
};

export type Fixture = Readonly<{
  root: string;
  runtimeDir: string;
  uri: (request: StartExport) => string;
  /** Another hub on the same runtime directory. */
  hub: (options?: Partial<QemuNbdOptions>) => QemuNbd;
  image: (name: string) => Promise<string>;
  request: (overrides?: Partial<StartExport>) => Promise<StartExport>;
  /** A file of the disk's size full of data. */
  source: () => Promise<string>;
}>;

/** A repository and a runtime directory of their own. Processes that a failed test leaves behind go with the test. */
export const exporterFixture = async (t: TestContext): Promise<Fixture> => {
  const root = await mkdtemp(join(tmpdir(), 'sendense-nbd-'));
  const runtimeDir = join(root, 'run');
  const images = createDiskImages();
  const hubs: QemuNbd[] = [];
  t.after(async () => {
    for (const hub of hubs) hub.close();
    for (const pid of (await processesNaming(root)).keys()) process.kill(pid, 'SIGKILL');
    await rm(root, { recursive: true, force: true });
  });
  const image = async (name: string): Promise<string> => {
    const imagePath = join(root, 'repo', `${name}.qcow2`);
    await images.create({ imagePath, virtualSizeBytes: diskSizeBytes }, neverAborted);
    return imagePath;
  };
  return {
    root,
    runtimeDir,
    uri: ({ port, exportName }) => `nbd://127.0.0.1:${port}/${exportName}`,
    hub: (options = {}) => {
      const hub = createQemuNbd({ runtimeDir, bindAddress: '127.0.0.1', aio: 'io_uring', log: quiet, ...options });
      hubs.push(hub);
      return hub;
    },
    image,
    request: async (overrides = {}) => ({
      exportId: 'backup-pgtest1-1760099954-disk0',
      exportName: 'pgtest1-disk-2000',
      port: await freePort(),
      imagePath: overrides.imagePath ?? (await image('disk')),
      readOnly: false,
      sharedConnections: 10,
      ...overrides,
    }),
    source: async () => {
      const path = join(root, 'source.raw');
      await mkdir(root, { recursive: true });
      await execa('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${diskSizeBytes / 2 ** 20}`]);
      return path;
    },
  };
};

/** Throws unless the image holds exactly the source's bytes. */
export const assertSameContent = async (sourcePath: string, imagePath: string): Promise<void> => {
  await execa('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', sourcePath, imagePath]);
};

export const isRunning = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !stat.slice(stat.lastIndexOf(')')).startsWith(') Z');
};
