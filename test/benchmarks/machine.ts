import { open, readFile, rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';

const chunkBytes = 4 * 1024 ** 2;
const watchMs = 200;
const idlePatienceMs = 5_000;
/** Of all processors' time: what a hub at rest and a shell leave. */
const quietShare = 0.15;

export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
};

const cpuTimes = async (): Promise<Readonly<{ idle: number; all: number }>> => {
  // proc(5): user nice system idle iowait irq softirq steal; waiting for a disk is no rest.
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const times = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return { idle: times[3] ?? 0, all: times.reduce((sum, time) => sum + time, 0) };
};

/**
 * Waits until nothing much runs, so that one sample's aftermath does not burden the next one. Others may keep the machine
 * busy all the time: then it goes on after a while.
 */
export const untilIdle = async (signal: AbortSignal): Promise<void> => {
  const deadline = performance.now() + idlePatienceMs;
  while (performance.now() < deadline) {
    const before = await cpuTimes();
    await delay(watchMs, undefined, { signal });
    const after = await cpuTimes();
    if (1 - (after.idle - before.idle) / (after.all - before.all) < quietShare) return;
  }
};

const readThrough = async (path: string): Promise<void> => {
  await using file = await open(path);
  const buffer = Buffer.allocUnsafe(chunkBytes);
  while ((await file.read(buffer, 0, chunkBytes)).bytesRead > 0);
};

const writeAndRemove = async (path: string, sizeBytes: number): Promise<void> => {
  const buffer = Buffer.alloc(chunkBytes, 'sendense');
  try {
    await using file = await open(path, 'w');
    for (let at = 0; at < sizeBytes; at += chunkBytes) await file.write(buffer);
  } finally {
    await rm(path, { force: true });
  }
};

export type WarmUp = Readonly<{ sources: readonly string[]; targetPath: string; targetBytes: number }>;

/**
 * Before each sample: in a virtual machine the first touch of memory is slower than any disk. Reads what will be read, makes
 * and removes what will be written, and waits until it is quiet.
 */
export const prepareMachine = async ({ sources, targetPath, targetBytes }: WarmUp, signal: AbortSignal) => {
  for (const source of sources) await readThrough(source);
  await writeAndRemove(targetPath, targetBytes);
  await execa('sync');
  await untilIdle(signal);
};
