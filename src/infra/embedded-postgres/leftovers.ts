import { readdir, readFile, readlink, realpath, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const pollMs = 10;
/** How a server is ended: fast shutdown, immediate shutdown, kill, each with the time it gets before the next. */
export const shutdownSteps: readonly Readonly<{ signal: NodeJS.Signals; graceMs: number }>[] = [
  { signal: 'SIGINT', graceMs: 10_000 },
  { signal: 'SIGQUIT', graceMs: 5_000 },
  { signal: 'SIGKILL', graceMs: 5_000 },
];

const linkOf = (pid: number, name: string): Promise<string> => readlink(`/proc/${pid}/${name}`).catch(() => '');

/** A reinstalled package leaves the running program's file deleted. */
const isPostgres = async (pid: number): Promise<boolean> =>
  basename((await linkOf(pid, 'exe')).replace(/ \(deleted\)$/, '')) === 'postgres';

/**
 * The server processes of this cluster. Every one of them has the cluster as its working directory, which a number in
 * postmaster.pid cannot prove: pids are reused.
 */
export const serversOf = async (clusterDir: string): Promise<readonly number[]> => {
  const cwd = await realpath(clusterDir);
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0 && pid !== process.pid);
  const found = await Promise.all(
    pids.map(async (pid) => ((await linkOf(pid, 'cwd')) === cwd && (await isPostgres(pid)) ? [pid] : [])),
  );
  return found.flat();
};

const postmasterOf = async (clusterDir: string): Promise<number> =>
  Number.parseInt(await readFile(join(clusterDir, 'postmaster.pid'), 'utf8').catch(() => ''), 10);

const send = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};

/** Whether none is left after at most that time. */
const gone = async (clusterDir: string, graceMs: number, signal: AbortSignal): Promise<boolean> => {
  const deadline = Date.now() + graceMs;
  while ((await serversOf(clusterDir)).length > 0) {
    if (Date.now() > deadline) return false;
    await delay(pollMs, undefined, { signal });
  }
  return true;
};

/**
 * Ends what an earlier hub or postmaster left running in this cluster, and then removes the lock file. In this order: a
 * server started beside living processes of the old one destroys data, and a lock file whose pid was reused by another
 * process of the same user keeps the server from starting. The caller holds the lock of the data directory.
 * Returns how many processes there were.
 */
export const clearLeftovers = async (clusterDir: string, signal: AbortSignal): Promise<number> => {
  const found = await serversOf(clusterDir);
  const postmaster = await postmasterOf(clusterDir);
  for (const step of found.length > 0 ? shutdownSteps : []) {
    const servers = await serversOf(clusterDir);
    // A fast shutdown is the postmaster's to lead; to a backend the same signal means to cancel its query.
    for (const pid of servers) if (step.signal !== 'SIGINT' || pid === postmaster) send(pid, step.signal);
    if (await gone(clusterDir, step.graceMs, signal)) break;
  }
  const left = await serversOf(clusterDir);
  if (left.length > 0) throw new Error(`PostgreSQL processes ${left.join(', ')} of ${clusterDir} cannot be ended`);
  await rm(join(clusterDir, 'postmaster.pid'), { force: true });
  return found.length;
};
