import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { locateBinaries } from './binaries.ts';
import { openCluster, superuser } from './cluster.ts';
import { takeIdentity } from './identity.ts';
import { clearLeftovers } from './leftovers.ts';
import { type Launch, launchPostmaster, type Postmaster } from './postmaster.ts';
import { makeSocketDir, socketPort } from './socket-dir.ts';

/** What node-postgres needs to connect; it stays the same when the server is restarted. */
export type PostgresConnection = Readonly<{
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}>;

/** A PostgreSQL server that lives and dies with this process. */
export type EmbeddedPostgres = Readonly<{
  connection: PostgresConnection;
  /** Undefined while it is down between two runs. */
  pid(): number | undefined;
  /** Ends it; what is still connected is cut off. May be called again. */
  stop(): Promise<void>;
}>;

const firstRetryMs = 100;
const lastRetryMs = 5_000;

/** Whatever an earlier run left goes first. */
const launchClean = async (launch: Launch, signal: AbortSignal): Promise<Postmaster> => {
  const ended = await clearLeftovers(launch.cluster.dir, signal);
  if (ended > 0) launch.log.warn({ processes: ended }, 'ended postgres processes of an earlier run');
  return launchPostmaster(launch, signal);
};

/** Tries until it runs or is no longer wanted. */
const relaunch = async (launch: Launch, signal: AbortSignal): Promise<Postmaster | undefined> => {
  for (let waitMs = firstRetryMs; !signal.aborted; waitMs = Math.min(waitMs * 2, lastRetryMs)) {
    try {
      return await launchClean(launch, signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      launch.log.error({ err: error, waitMs }, 'embedded postgres does not start');
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
};

/** Keeps one server running: one that ends unasked is started again on the same socket. */
const supervise = (launch: Launch, first: Postmaster) => {
  const stopping = new AbortController();
  let current: Postmaster | undefined = first;
  const watch = async (): Promise<void> => {
    while (current) {
      const how = await current.ended;
      current = undefined;
      if (stopping.signal.aborted) return;
      launch.log.error({ how }, 'embedded postgres ended unasked');
      current = await relaunch(launch, stopping.signal);
    }
  };
  const watching = watch();
  const stop = async (): Promise<void> => {
    stopping.abort();
    await current?.stop();
    await watching;
  };
  return { pid: () => current?.pid, stop };
};

/**
 * Starts PostgreSQL on the files below `dataDir`, which are made on the first start, and keeps it running until `stop`.
 * It listens on a unix socket that its own user and root alone can reach. Also when this process is killed the server
 * ends with it; should it not, the next start ends it. Aborting gives up a start that is under way.
 * The caller holds the lock of the data directory: two callers would end each other's server.
 */
export const startEmbeddedPostgres = async (
  { dataDir, log }: Readonly<{ dataDir: string; log: Logger }>,
  signal: AbortSignal,
): Promise<EmbeddedPostgres> => {
  const folder = resolve(dataDir);
  const binaries = await locateBinaries();
  const identity = await takeIdentity(folder, binaries);
  const cluster = await openCluster(folder, { binaries, identity }, signal);
  const socketDir = await makeSocketDir(folder, identity.owner);
  const launch = { binaries, identity, cluster, socketDir: socketDir.path, log };
  try {
    const server = supervise(launch, await launchClean(launch, signal));
    const stop = async (): Promise<void> => {
      await server.stop();
      await socketDir.remove();
    };
    const { password } = cluster;
    const connection = { host: socketDir.path, port: socketPort, user: superuser, password, database: 'postgres' };
    return { connection, pid: server.pid, stop };
  } catch (error) {
    await socketDir.remove();
    throw error;
  }
};
