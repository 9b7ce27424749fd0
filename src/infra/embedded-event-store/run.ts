import { once } from 'node:events';
import { hostname } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import { DataDirInUse, publishAddress, withdrawAddress } from './data-dir.ts';
import type { AppendLimits } from './grpc/service.ts';
import type { TlsFiles } from './security/tls.ts';
import { type PasswordVerifier, Users } from './security/users.ts';
import { createEventStoreServer, type EventStoreServer } from './server.ts';

export type RunEventStoreOptions = Readonly<{
  dataDir: string;
  /** Default 127.0.0.1. Beyond loopback `tls` and `users` are required. */
  host?: string;
  /** Default 0: any free one. */
  port?: number;
  maxSizeBytes?: number;
  /** How often the store scavenges by itself; 0: never. A day when not given. */
  scavengeEveryMs?: number;
  limits?: Partial<AppendLimits>;
  tls?: TlsFiles;
  /** Needs `tls`: in plain text clients send no credentials. */
  users?: Readonly<{ file: string; passwords: PasswordVerifier }>;
  /** Stop when stdin ends: whoever holds its other end is gone. */
  exitWithParent?: boolean;
}>;

const everyAddress: ReadonlySet<string> = new Set(['0.0.0.0', '::']);
const loopback: ReadonlySet<string> = new Set(['127.0.0.1', '::1', 'localhost']);
// How long a successor waits for a predecessor that lost its parent too and is still closing.
const takeOverTimeoutMs = 5000;
const takeOverIntervalMs = 50;
// After a clean stop was asked for, a client that does not let go must not keep the process.
const stopTimeoutMs = 4000;
// sysexits(3): EX_SOFTWARE
const storageFailedExitCode = 70;

const say = (sentence: string): void => {
  process.stderr.write(`${sentence}\n`);
};

const refusalOf = ({ host = '127.0.0.1', port = 0, tls, users }: RunEventStoreOptions): string | undefined => {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) return 'The port of the event store must be 0 to 65535.';
  if (users && !tls) return 'The event store cannot have users without TLS: clients send no credentials in plain text.';
  if (loopback.has(host) || (tls && users)) return undefined;
  return `The event store cannot listen on ${host}: without TLS and users it listens on loopback only.`;
};

const stopRequested = (exitWithParent: boolean): AbortSignal => {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  if (exitWithParent) {
    process.stdin.on('end', stop).on('close', stop).on('error', stop);
    process.stdin.resume();
  }
  return controller.signal;
};

/** Storage that failed in the middle of a commit: only a fresh start reads what really is on the disk. */
const endProcess = (error: unknown): never => {
  say(`The event store stops, its storage failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(storageFailedExitCode);
};

const start = async (options: RunEventStoreOptions, stop: AbortSignal): Promise<EventStoreServer> => {
  const { users: given, ...rest } = options;
  const users = given && new Users({ path: given.file, passwords: given.passwords, warn: say });
  const giveUpAt = performance.now() + (options.exitWithParent ? takeOverTimeoutMs : 0);
  for (;;) {
    try {
      return await createEventStoreServer({ ...rest, ...(users && { users }), failed: endProcess });
    } catch (error) {
      const mayBeFreeSoon = error instanceof DataDirInUse && performance.now() < giveUpAt;
      if (!mayBeFreeSoon || stop.aborted) throw error;
      await pause(takeOverIntervalMs);
    }
  }
};

/** Names and passwords are for whoever connects to add. */
const connectionTo = ({ host = '127.0.0.1', tls }: RunEventStoreOptions, port: number): string => {
  const reachable = everyAddress.has(host) ? hostname() : host;
  return `esdb://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}?tls=${tls !== undefined}`;
};

const serve = async (options: RunEventStoreOptions, stop: AbortSignal): Promise<void> => {
  const server = await start(options, stop);
  const address = { connection: connectionTo(options, server.port), port: server.port, pid: process.pid };
  publishAddress(options.dataDir, address);
  process.stdout.write(`${JSON.stringify(address)}\n`);
  if (!stop.aborted) await once(stop, 'abort');
  withdrawAddress(options.dataDir);
  await server.close();
};

/**
 * Runs the event store as this process's program until SIGTERM, SIGINT or (if asked for) the end of stdin. Prints one line
 * of JSON once it is ready; returns the exit code.
 */
export const runEventStore = async (options: RunEventStoreOptions): Promise<number> => {
  const refusal = refusalOf(options);
  if (refusal !== undefined) {
    say(refusal);
    return 1;
  }
  setLogVerbosity(logVerbosity.NONE); // its errors reach the caller; here it would repeat them in words of its own
  const stop = stopRequested(options.exitWithParent ?? false);
  stop.addEventListener('abort', () => {
    setTimeout(() => process.exit(1), stopTimeoutMs).unref();
  });
  try {
    await serve(options, stop);
    return 0;
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return 1;
  }
};
