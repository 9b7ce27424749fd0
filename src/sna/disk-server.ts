import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ProgramFailed, type Programs } from './programs.ts';

/**
 * nbdkit on a unix socket in the job's own folder, which goes with the job. (nbdcopy can start nbdkit itself, but then the
 * socket lies in a folder below /tmp that stays behind whenever nbdcopy is killed.)
 */
export type DiskServer = Readonly<{ uri: string; pid: number }>;

export type Serve = Readonly<{
  /** A folder for this server alone. */
  folder: string;
  name: string;
  /** nbdkit's arguments after its own: filters, plugin, parameters. */
  arguments: readonly string[];
}>;

// unix(7): sun_path holds 108 bytes, the last one a NUL.
const maxSocketPath = 107;
const startTimeoutMs = 10_000;
const pollMs = 2;

/** A path of any length made short: through the descriptor of its folder, as long as that is open. */
const shortened = async (folder: string, file: string) => {
  const path = join(folder, file);
  if (Buffer.byteLength(path) <= maxSocketPath) return { path, close: async () => undefined };
  const handle = await open(folder, 'r');
  return { path: `/proc/${process.pid}/fd/${handle.fd}/${file}`, close: () => handle.close() };
};

const untilListening = async (pidFile: string, ended: () => unknown): Promise<void> => {
  const deadline = performance.now() + startTimeoutMs;
  // nbdkit writes its pid file once it listens.
  while (!existsSync(pidFile)) {
    const how = ended();
    if (how !== undefined) throw how;
    if (performance.now() > deadline) throw new Error('nbdkit did not begin to listen in time');
    await delay(pollMs);
  }
};

const lastWords = ({ stderr }: ProgramFailed): string => stderr.trim().split('\n').at(-1) ?? '';

/** Serves a disk for as long as `use` runs; nothing of it is left afterwards. */
export const withDiskServer = async <T>(
  { folder, name, arguments: parameters }: Serve,
  programs: Programs,
  use: (server: DiskServer) => Promise<T>,
  signal: AbortSignal,
): Promise<T> => {
  const stop = new AbortController();
  const socket = await shortened(folder, `${name}.sock`);
  const pidFile = join(folder, `${name}.pid`);
  let pid = 0;
  let ended: unknown;
  const command = [
    'nbdkit',
    '-r',
    '-f',
    '--exit-with-parent',
    '-U',
    socket.path,
    '-P',
    pidFile,
    ...parameters,
  ] as const;
  const onStart = (started: number) => {
    pid = started;
  };
  const running = programs.run(command, { onStart }, AbortSignal.any([signal, stop.signal])).then(
    () => {
      ended = new Error('nbdkit ended by itself');
    },
    (error: unknown) => {
      ended = error;
    },
  );
  try {
    await untilListening(pidFile, () => ended);
    // Slashes may stand in a query (RFC 3986 3.4): the command line tells whose job it is.
    const path = encodeURIComponent(socket.path).replaceAll('%2F', '/');
    return await use({ uri: `nbd+unix:///?socket=${path}`, pid });
  } catch (error) {
    signal.throwIfAborted();
    if (!(ended instanceof ProgramFailed) || !(error instanceof ProgramFailed) || error === ended) throw error;
    // Either may have brought the other down (nbdkit crashes when its client vanishes): both have their say.
    throw new ProgramFailed('nbdcopy', `${lastWords(error)} (nbdkit: ${lastWords(ended)})`, { cause: error });
  } finally {
    stop.abort();
    await running;
    await socket.close();
  }
};
