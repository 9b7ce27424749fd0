import { once } from 'node:events';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { execa } from 'execa';
import { createFuseExposure } from '#infra/mounts/fuse-disk.ts';
import { eventually } from '../support/eventually.ts';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { comparedFigure, type Outcome, plainFigure } from './figures.ts';

const mib = 1024 ** 2;
const limits = { download: 1 / 0.85, zip: 1 / 0.9, listMs: 300, firstPageMs: 500, zipMib: 150, abortMs: 1000 };

type Sizes = Readonly<{ big: number; zipped: number; zippedFiles: number; listed: number; deep: number }>;
const sizesOf = (quick: boolean): Sizes =>
  quick
    ? { big: 32 * mib, zipped: 32 * mib, zippedFiles: 100, listed: 1000, deep: 2000 }
    : { big: 1024 * mib, zipped: 2048 * mib, zippedFiles: 5000, listed: 10_000, deep: 100_000 };

/** Programs, as most of a system disk is: it shrinks to two fifths. */
const content = async (): Promise<Buffer> => (await readFile(process.execPath)).subarray(0, 100 * mib);

const manyEmpty = async (folder: string, count: number): Promise<void> => {
  await mkdir(folder, { recursive: true });
  for (let index = 0; index < count; index += 1)
    await (await open(join(folder, `file-${`${index}`.padStart(6, '0')}.dat`), 'w')).close();
};

const fill = async (root: string, sizes: Sizes): Promise<void> => {
  const source = await content();
  const big = await open(join(root, 'big.bin'), 'w');
  for (let written = 0; written < sizes.big; written += source.length)
    await big.write(source, 0, Math.min(source.length, sizes.big - written));
  await big.close();
  const each = Math.floor(sizes.zipped / sizes.zippedFiles);
  for (let index = 0; index < sizes.zippedFiles; index += 1) {
    const folder = join(root, 'tree', `folder-${index % 50}`);
    await mkdir(folder, { recursive: true });
    const start = (index * 7919 * 4096) % (source.length - each);
    await writeFile(join(folder, `program-${index}.bin`), source.subarray(start, start + each));
  }
  await manyEmpty(join(root, 'wide'), sizes.listed);
  for (let index = 0; index < 100; index += 1) await manyEmpty(join(root, 'deep', `folder-${index}`), sizes.deep / 100);
};

/** Whoever read last may not have let go yet. */
const unmount = (root: string): Promise<unknown> =>
  eventually('nobody reads from the mount', async () => !(await execa('umount', [root], { reject: false })).failed);

/** A filesystem in an image of a backup, mounted as the hub mounts it. */
const makeMount = async ({ folder, quick, say, signal }: Bench) => {
  const [raw, image, root, served] = ['disk.raw', 'disk.qcow2', 'mount', 'served'].map((name) =>
    join(folder, name),
  ) as [...[string, string, string, string]];
  for (const made of [root, served]) await mkdir(made);
  await execa('truncate', ['--size', quick ? '256M' : '5G', raw]);
  await execa('mkfs.ext4', ['-q', '-F', '-N', '200000', raw]);
  await execa('mount', ['-o', 'loop', raw, root]);
  say('filling a filesystem');
  await fill(root, sizesOf(quick));
  await unmount(root);
  await execa('qemu-img', ['convert', '-O', 'qcow2', raw, image]);
  await rm(raw);
  const exposure = createFuseExposure();
  const request = { folder: served, imagePath: image, slot: 0 };
  const { path } = await exposure.expose(request, 0, signal);
  const mount = () => execa('mount', ['-o', 'loop,ro,nosuid,nodev,noexec', path, root]);
  await mount();
  return {
    root,
    /** What was read through it before is read again from the image. */
    forget: async (): Promise<void> => {
      await unmount(root);
      await mount();
    },
    close: async (): Promise<void> => {
      await unmount(root);
      await exposure.withdraw(request, AbortSignal.timeout(30_000));
    },
  };
};

const startServer = async (root: string) => {
  const program = join(import.meta.dirname, 'restored-files-program.ts');
  const server = execa(process.execPath, [program, root], { stdin: 'ignore', stderr: 'inherit', reject: false });
  const [line] = (await once(server.stdout, 'data')) as [Buffer];
  const { pid = 0 } = server;
  const status = () => readFile(`/proc/${pid}/status`, 'utf8');
  const field = async (name: string): Promise<number> =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(await status())?.[1]) / 1024;
  return {
    base: `${line.toString().trim()}/api/v1/restore/mount-1`,
    /** Now, in MiB; from here on the most is remembered. */
    idleMib: async (): Promise<number> => {
      await writeFile(`/proc/${pid}/clear_refs`, '5');
      return field('VmRSS');
    },
    /** The most since then. */
    peakMib: (): Promise<number> => field('VmHWM'),
    cpuMs: async (): Promise<number> => {
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
      const [user = 0, system = 0] = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .slice(11, 13)
        .map(Number);
      return (user + system) * 10;
    },
    stop: async (): Promise<void> => {
      server.kill('SIGTERM');
      await server;
    },
  };
};

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAtMs = performance.now();
  await work();
  return (performance.now() - startedAtMs) / 1000;
};

const curl = (url: string, args: readonly string[] = []) => execa('curl', ['-sSf', '-o', '/dev/null', ...args, url]);

/** Milliseconds to the first bytes of the body, and to its end. */
const readTimes = async (url: string): Promise<Readonly<{ firstMs: number; lastMs: number }>> => {
  const startedAtMs = performance.now();
  const [response] = (await once(get(url), 'response')) as [NodeJS.ReadableStream];
  let firstMs = 0;
  for await (const _ of response) firstMs ||= performance.now() - startedAtMs;
  return { firstMs, lastMs: performance.now() - startedAtMs };
};

/** How long the server still works for a client that has gone: until a tenth of a second costs it next to nothing. */
const abortTime = async (url: string, cpuMs: () => Promise<number>): Promise<number> => {
  const request = get(url);
  const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
  await once(response, 'data');
  request.on('error', () => undefined).destroy();
  const startedAtMs = performance.now();
  const pauseMs = 100;
  for (let before = await cpuMs(); ; ) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const now = await cpuMs();
    if (now - before <= pauseMs / 5) return performance.now() - startedAtMs - pauseMs;
    before = now;
  }
};

const run = async (bench: Bench): Promise<Outcome> => {
  const { quick } = bench;
  const mount = await makeMount(bench);
  const server = await startServer(mount.root);
  const { base } = server;
  const rounds = quick ? 1 : 3;
  try {
    const lists = { wide: [] as number[], first: [] as number[] };
    for (let round = 0; round <= 5; round += 1) {
      const wide = await readTimes(`${base}/files?path=/wide`);
      const deep = await readTimes(`${base}/files?path=/deep&recursive=true`);
      if (round > 0) lists.wide.push(wide.lastMs);
      if (round > 0) lists.first.push(deep.firstMs);
    }
    const downloads = await alternate(
      rounds,
      {
        download: async () => {
          await mount.forget();
          return timed(() => curl(`${base}/download?path=/big.bin`));
        },
        cat: async () => {
          await mount.forget();
          return timed(() => execa('cat', [join(mount.root, 'big.bin')], { stdout: 'ignore' }));
        },
      },
      bench,
    );
    const before = await server.idleMib();
    const zips = await alternate(
      quick ? 1 : 2,
      {
        zip: async () => {
          await mount.forget();
          return timed(() => curl(`${base}/download-directory?path=/tree&format=zip`));
        },
        program: async () => {
          await mount.forget();
          return timed(() =>
            execa('zip', ['-1', '-q', '-r', '-', '.'], { cwd: join(mount.root, 'tree'), stdout: 'ignore' }),
          );
        },
      },
      bench,
    );
    const zipPeak = await server.peakMib();
    const aborts = [];
    for (let round = 0; round < rounds; round += 1)
      aborts.push(await abortTime(`${base}/download-directory?path=/tree&format=zip`, server.cpuMs));
    return {
      conditions: [
        'ext4 in a qcow2 image, mounted as the hub does it without nbd, anew before each reading; the image in the page cache',
      ],
      figures: [
        plainFigure({ name: 'list of 10,000 files', unit: 'ms', samples: lists.wide, limit: limits.listMs }),
        plainFigure({
          name: 'first part of a recursive list of 100,000',
          unit: 'ms',
          samples: lists.first,
          limit: limits.firstPageMs,
        }),
        comparedFigure(
          { name: 'download of 1 GiB', unit: 's', samples: downloads.download, limit: limits.download },
          { name: 'cat', samples: downloads.cat },
        ),
        comparedFigure(
          { name: 'zip of 2 GiB in 5,000 files', unit: 's', samples: zips.zip, limit: limits.zip },
          { name: 'zip -1', samples: zips.program },
        ),
        plainFigure({
          name: 'memory that zipping takes',
          unit: 'MiB',
          samples: [zipPeak - before],
          limit: limits.zipMib,
        }),
        plainFigure({ name: 'work for a client that has gone', unit: 'ms', samples: aborts, limit: limits.abortMs }),
      ],
    };
  } finally {
    await server.stop();
    await mount.close();
  }
};

export const restoreFiles: Benchmark = { name: 'restore-files', run };
