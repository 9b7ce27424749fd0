import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import type { Logger } from 'pino';
import { createApi } from './api.ts';
import { openDataDir } from './data-dir.ts';
import { ForeignProgress } from './foreign-progress.ts';
import { createHubClient } from './hub-client.ts';
import { Jobs } from './jobs.ts';
import { endOrphans } from './orphans.ts';
import { createPrograms } from './programs.ts';
import { createDiskImageSource } from './sources/disk-image.ts';

export type NodeOptions = Readonly<{
  /** The folder of VMs. */
  root: string;
  /** Port 0: any free one. */
  http: Readonly<{ host: string; port: number }>;
  hubUrl: string;
  dataDir: string;
  log: Logger;
  /** When set, discovery and backups need this login, as with a vCenter. */
  login?: Readonly<{ username: string; password: string }>;
  /** How long a hub that is away is waited for before a job fails. */
  hubGiveUpAfterMs?: number;
  /** How often disks are looked at for changes. */
  pollMs?: number;
  /** How long a snapshot may wait for a pause in writing. */
  snapshotTimeoutMs?: number;
}>;

export type RunningNode = Readonly<{ url: string; close(): Promise<void> }>;

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || host.startsWith('127.');

const listen = async (server: Server, { host, port }: NodeOptions['http']): Promise<string> => {
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  const actualPort = typeof address === 'object' && address !== null ? address.port : port;
  return `http://${isIPv6(host) ? `[${host}]` : host}:${actualPort}`;
};

const closeServer = async (server: Server): Promise<void> => {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
};

const requireFolder = async (root: string): Promise<void> => {
  const found = await stat(root).catch(() => undefined);
  if (!found?.isDirectory()) throw new Error(`the root of the lab's VMs is not a folder: ${root}`);
};

/** Runs a node appliance until `close` or the signal. Ready, and cleaned up after a crash, when it resolves. */
export const runNode = async (options: NodeOptions, signal: AbortSignal): Promise<RunningNode> => {
  const { log } = options;
  const root = resolve(options.root);
  const path = resolve(options.dataDir);
  await requireFolder(root);
  const dataDir = await openDataDir(path);
  const undo: (() => Promise<void>)[] = [() => dataDir.release()];
  const close = async () => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  try {
    const orphans = await endOrphans(path);
    if (orphans.length > 0) log.warn({ pids: orphans }, 'programs of a node that was killed were still there');
    const programs = await createPrograms();
    const snapshot = { settleTimeoutMs: options.snapshotTimeoutMs ?? 120_000, retryMs: 50 };
    const lab = { root, dataDir: path, pollMs: options.pollMs ?? 500, snapshot };
    const source = await createDiskImageSource(
      { ...lab, ...(options.login ? { login: options.login } : {}) },
      programs,
      log,
    );
    undo.push(() => source.close());
    const hub = createHubClient({ url: options.hubUrl, giveUpAfterMs: options.hubGiveUpAfterMs ?? 600_000 }, log);
    const jobs = new Jobs({ source, hub, programs, dataDir: path, log });
    undo.push(() => jobs.close());
    await jobs.recover();
    const server = createServer(createApi({ jobs, source, foreign: new ForeignProgress(), log }));
    const url = await listen(server, options.http);
    undo.push(() => closeServer(server));
    if (!isLoopback(options.http.host)) {
      log.warn({ url }, 'the node API has no login and is reachable from other hosts: anyone there can start backups');
    }
    await dataDir.announce(url);
    log.info({ url, root }, 'node ready');
    return { url, close: closeOnce(close, signal) };
  } catch (error) {
    await close();
    throw error;
  }
};

const closeOnce = (close: () => Promise<void>, signal: AbortSignal): (() => Promise<void>) => {
  let closing: Promise<void> | undefined;
  const once = () => {
    closing ??= close();
    return closing;
  };
  if (signal.aborted) void once();
  else signal.addEventListener('abort', () => void once(), { once: true });
  return once;
};
