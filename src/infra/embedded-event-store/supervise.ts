import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { Logger } from 'pino';
import type { EventStoreAddress } from './data-dir.ts';

export type SupervisedEventStore = Readonly<{
  connectionString: string;
  /** Undefined while it is being restarted. */
  pid: () => number | undefined;
  stop: () => Promise<void>;
}>;

export type SuperviseOptions = Readonly<{
  dataDir: string;
  log: Logger;
  /** How often it scavenges by itself; 0: never. A day when not given. */
  scavengeEverySeconds?: number;
  /** Stops it as `stop` does. */
  signal?: AbortSignal;
}>;

const program = fileURLToPath(new URL('./child.ts', import.meta.url));
const firstBackoffMs = 50;
const maxBackoffMs = 2000;
// Whoever lived that long was not in a crash loop.
const healthyAfterMs = 5000;
const killAfterMs = 5000;

type End = Readonly<{ exitCode: number | undefined; signal: string | undefined; lastWords: string }>;

type Child = Readonly<{
  address: Promise<EventStoreAddress>;
  /** Resolves, never rejects, when the process is gone. */
  gone: Promise<End>;
  terminate: () => void;
}>;

const parseAddress = (line: string): EventStoreAddress => {
  const { connection, port, pid }: Record<string, unknown> = JSON.parse(line);
  if (typeof connection === 'string' && typeof port === 'number' && typeof pid === 'number') {
    return { connection, port, pid };
  }
  throw new Error(`The event store said something unexpected: ${line}`);
};

/** In MiB. What an append needs is short-lived; with the hub's small nursery many writers cost a fifth more. */
const nursery = '--max-semi-space-size=8';

const spawnChild = ({ dataDir, scavengeEverySeconds, log }: SuperviseOptions, port: number): Child => {
  const scavenging =
    scavengeEverySeconds === undefined ? [] : ['--scavenge-every-ms', String(scavengeEverySeconds * 1000)];
  const args = ['--exit-with-parent', '--data-dir', dataDir, '--port', String(port), ...scavenging];
  const subprocess = execa(process.execPath, [nursery, program, ...args], {
    // The open stdin is what tells the child that this process lives.
    stdin: 'pipe',
    buffer: false,
    reject: false,
    forceKillAfterDelay: killAfterMs,
    // glibc's arenas, one a thread, keep what was freed: some hundred MiB after a busy hour.
    env: { MALLOC_ARENA_MAX: '1' },
  });
  let lastWords = '';
  createInterface({ input: subprocess.stderr }).on('line', (line) => {
    lastWords = line;
    log.warn({ line }, 'event store says');
  });
  const gone = subprocess.then(({ exitCode, signal }): End => ({ exitCode, signal, lastWords }));
  const { promise: address, resolve, reject } = Promise.withResolvers<EventStoreAddress>();
  createInterface({ input: subprocess.stdout }).once('line', (line) => resolve(Promise.try(parseAddress, line)));
  gone.then((end) => reject(new Error(end.lastWords || 'The event store ended before it was ready.')));
  address.catch(() => undefined); // seen by whoever awaits it; after a restart nobody does, `gone` tells the same
  return { address, gone, terminate: () => subprocess.kill('SIGTERM') };
};

class Supervisor {
  readonly #options: SuperviseOptions;
  readonly #stopping = new AbortController();
  #child: Child;
  #pid: number | undefined;
  #watching: Promise<void> | undefined;

  constructor(options: SuperviseOptions) {
    this.#options = options;
    this.#child = this.#spawn(0);
    options.signal?.addEventListener('abort', () => void this.stop(), { once: true });
  }

  get pid(): number | undefined {
    return this.#pid;
  }

  /** Rejects with the child's last words if it does not start at all. */
  async start(): Promise<EventStoreAddress> {
    if (this.#options.signal?.aborted) await this.stop();
    const address = await this.#child.address;
    this.#watching = this.#keepRunning(address.port);
    return address;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#child.terminate();
    await this.#child.gone;
    await this.#watching;
  }

  #spawn(port: number): Child {
    const { dataDir, log } = this.#options;
    const child = spawnChild(this.#options, port);
    child.address.then(
      ({ pid }) => {
        this.#pid = pid;
        log.info({ pid, dataDir }, 'event store ready');
      },
      () => undefined, // `gone` reports it
    );
    return child;
  }

  /** The same port again: clients reconnect to the address they know. */
  async #keepRunning(port: number): Promise<void> {
    let backoffMs = firstBackoffMs;
    let startedAtMs = performance.now();
    for (;;) {
      const end = await this.#child.gone;
      this.#pid = undefined;
      if (this.#stopping.signal.aborted) return;
      this.#options.log.error(end, 'event store ended unasked, restarting it');
      if (performance.now() - startedAtMs > healthyAfterMs) backoffMs = firstBackoffMs;
      await this.#pause(backoffMs);
      if (this.#stopping.signal.aborted) return;
      backoffMs = Math.min(2 * backoffMs, maxBackoffMs);
      startedAtMs = performance.now();
      this.#child = this.#spawn(port);
    }
  }

  async #pause(ms: number): Promise<void> {
    await setTimeout(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined); // a stop cuts it short
  }
}

/**
 * Runs the event store in a process of its own for as long as this one lives, and starts it again, on the same port,
 * whenever it dies unasked. Resolves when it can be connected to.
 */
export const superviseEventStore = async (options: SuperviseOptions): Promise<SupervisedEventStore> => {
  const supervisor = new Supervisor(options);
  const { connection } = await supervisor.start();
  return { connectionString: connection, pid: () => supervisor.pid, stop: () => supervisor.stop() };
};
