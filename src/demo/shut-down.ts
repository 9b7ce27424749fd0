import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import { findLeftovers, findProcesses, loopDevicesIn, mountPointsIn } from './leftovers.ts';
import type { RunningProgram } from './program.ts';

const lookEveryMs = 50;
const jobsTimeoutMs = 15_000;
const lastProcessesTimeoutMs = 5_000;

const Health = z.object({ process_managers: z.array(z.object({ open_jobs: z.number() })) });

const openJobs = async (hubUrl: string): Promise<number> => {
  const response = await fetch(`${hubUrl}/health`, { signal: AbortSignal.timeout(jobsTimeoutMs) });
  const { process_managers: managers } = Health.parse(await response.json());
  return managers.reduce((sum, manager) => sum + manager.open_jobs, 0);
};

/** A job that is cut short fails, and cleans up after itself; a hub that does not answer is not waited for. */
const untilJobsEnded = async (hubUrl: string): Promise<void> => {
  const deadline = performance.now() + jobsTimeoutMs;
  while (performance.now() < deadline) {
    const open = await openJobs(hubUrl).catch(() => 0);
    if (open === 0) return;
    await delay(lookEveryMs);
  }
};

/** What was not to be moved by SIGTERM is told. */
const stopProgram = async ({ name, pid, hasEnded, stop }: RunningProgram): Promise<readonly string[]> => {
  if ((await hasEnded()) !== undefined) return [];
  return (await stop()) === 'SIGKILL' ? [`process ${pid}: the ${name} had to be killed`] : [];
};

/** Node first: it tells the hub how its jobs ended, and the hub needs its stores to free what they used. */
const stopPrograms = async (programs: readonly RunningProgram[]): Promise<readonly string[]> => {
  const killed: string[] = [];
  const named = (wanted: string) => programs.filter(({ name }) => name === wanted);
  for (const program of [...named('node'), ...named('hub')]) {
    if (program.name === 'hub') await untilJobsEnded(program.url);
    killed.push(...(await stopProgram(program)));
  }
  return killed;
};

const endProcesses = async (folder: string): Promise<void> => {
  const deadline = performance.now() + lastProcessesTimeoutMs;
  for (;;) {
    const left = await findProcesses({ folder, running: false });
    if (left.length === 0 || performance.now() > deadline) return;
    for (const { pid } of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended meanwhile
      }
    }
    await delay(lookEveryMs);
  }
};

const run = (program: string, args: readonly string[]) => execa(program, args, { reject: false, stdin: 'ignore' });

/**
 * Of a hub that was killed. A loop device that shows a mounted filesystem is marked, and goes with the filesystem; so all are
 * marked before the first one is unmounted. The last mounted goes first.
 */
const endMounts = async (folder: string): Promise<void> => {
  for (const { device } of await loopDevicesIn(folder)) await run('losetup', ['--detach', device]);
  for (const point of (await mountPointsIn(folder)).toReversed()) await run('umount', ['--lazy', point]);
};

export type ShutDown = Readonly<{ folder: string; programs: readonly RunningProgram[]; ports: readonly number[] }>;

/** Stops everything, tells what did not stop by itself, and leaves nothing all the same. */
export const shutDown = async ({ folder, programs, ports }: ShutDown): Promise<readonly string[]> => {
  const killed = await stopPrograms(programs);
  const leftovers = [...killed, ...(await findLeftovers({ folder, ports, running: false }))];
  await endMounts(folder);
  await endProcesses(folder);
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  return leftovers;
};
