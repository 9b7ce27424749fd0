import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { type Cluster, postgresEnv, type Tools } from './cluster.ts';
import { shutdownSteps } from './leftovers.ts';
import { socketPort } from './socket-dir.ts';

/** Small and quick to start, without the processes that one hub never needs. What is committed is on disk. */
const settings: Readonly<Record<string, string>> = {
  listen_addresses: '',
  port: String(socketPort),
  unix_socket_permissions: '0700',
  max_connections: '50',
  shared_buffers: '32MB',
  huge_pages: 'off',
  // In the cluster's own folder: segments in /dev/shm stay behind when the server is killed and never started again.
  dynamic_shared_memory_type: 'mmap',
  fsync: 'on',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '256MB',
  max_logical_replication_workers: '0',
  max_worker_processes: '2',
  max_parallel_workers_per_gather: '0',
  autovacuum: 'on',
  autovacuum_max_workers: '1',
  io_method: 'sync',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '',
  // A statement that failed is its sender's to report; its text may hold what must not be in a log.
  log_min_error_statement: 'panic',
};

const readyTimeoutMs = 60_000;
const keptLines = 10;

/** One run of the server, from ready to its end. */
export type Postmaster = Readonly<{
  pid: number;
  /** Resolves with how it ended; never rejects. */
  ended: Promise<string>;
  stop(): Promise<void>;
}>;

export type Launch = Tools & Readonly<{ cluster: Cluster; socketDir: string; log: Logger }>;

/** A list to PostgreSQL, so a path is one quoted element of it. */
const quoted = (path: string): string => `"${path.replaceAll('"', '""')}"`;

const commandOf = ({ identity, binaries, cluster, socketDir }: Launch): readonly string[] => [
  ...identity.prefix,
  binaries.postgres,
  '-D',
  cluster.dir,
  ...Object.entries({ ...settings, unix_socket_directories: quoted(socketDir) }).map(
    ([name, value]) => `--${name}=${value}`,
  ),
];

/** What the promise resolves with, or undefined after that time or an abort. */
const within = async <T>(promise: Promise<T>, timeoutMs: number, signal?: AbortSignal): Promise<T | undefined> => {
  const limit = new AbortController();
  const stops = signal ? AbortSignal.any([signal, limit.signal]) : limit.signal;
  try {
    return await Promise.race([promise, delay(timeoutMs, undefined, { signal: stops }).catch(() => undefined)]);
  } finally {
    limit.abort();
  }
};

/** In a session of its own, so that a Ctrl-C on the terminal reaches the hub alone, which stops the server last. */
const spawn = (launch: Launch) => {
  const [file = '', ...args] = commandOf(launch);
  const life = { detached: true, cleanup: false, reject: false } as const;
  const streams = { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe', buffer: false } as const;
  return execa(file, args, { ...life, ...streams, extendEnv: false, env: postgresEnv, cwd: '/' });
};

const levelOf = (line: string): 'debug' | 'warn' | 'error' => {
  if (line.startsWith('PANIC:')) return 'error';
  return line.startsWith('FATAL:') || line.startsWith('WARNING:') ? 'warn' : 'debug';
};

/** Starts the server and returns once it accepts connections. Throws its last words if it ends before that. */
export const launchPostmaster = async (launch: Launch, signal: AbortSignal): Promise<Postmaster> => {
  signal.throwIfAborted();
  const child = spawn(launch);
  const lastLines: string[] = [];
  // Not the end of its output: after a kill of the postmaster its children still hold that open.
  const ended = new Promise<string>((resolve) => {
    child.nodeChildProcess.once('exit', (code, killedBy) => resolve(killedBy ?? `exit code ${code}`));
    child.then(
      (result) => resolve(result.shortMessage ?? 'exit code 0'),
      (error: unknown) => resolve(String(error)),
    );
  });
  const ready = new Promise<true>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      launch.log[levelOf(line)]({ line }, 'embedded postgres says');
      lastLines.push(line);
      if (lastLines.length > keptLines) lastLines.shift();
      if (line.includes('database system is ready to accept connections')) resolve(true);
    });
  });
  const stop = async (): Promise<void> => {
    for (const { signal: ending, graceMs } of shutdownSteps) {
      child.kill(ending);
      if (await within(ended, graceMs)) return;
    }
  };
  const outcome = await within(Promise.race([ready, ended]), readyTimeoutMs, signal);
  if (outcome === true && child.pid !== undefined) return { pid: child.pid, ended, stop };
  await stop();
  signal.throwIfAborted();
  const why = outcome ?? `not ready within ${readyTimeoutMs / 1000} s`;
  throw new Error(`PostgreSQL did not start (${why}): ${lastLines.join(' / ')}`);
};
