import {
  type DiskExport,
  type DiskExporter,
  type PortProbe,
  PortTaken,
  type StartExport,
  type StoppedExport,
} from '#process-managers/ports.ts';

type Listener = Parameters<DiskExporter['onUnexpectedExit']>[0];

export type FakeExporter = DiskExporter &
  Readonly<{
    probe: PortProbe;
    running: Map<string, DiskExport>;
    /** How many processes were ever started. */
    starts: () => number;
    /** Ports that other programs listen on; those of `hidden` are seen only by the start itself. */
    strangers: { seen: Set<number>; hidden: Set<number> };
    trouble: { beforeStart: (request: StartExport) => void; beforeStop: (exportId: string) => void };
    /** How the next stops end. */
    ends: Map<string, StoppedExport['outcome']>;
    /** A process ends that nobody stopped. */
    kill: (exportId: string) => void;
  }>;

/** Export processes in memory: adopted when they run, forgotten when they have been stopped. */
export const createFakeExporter = (): FakeExporter => {
  const running = new Map<string, DiskExport>();
  const strangers = { seen: new Set<number>(), hidden: new Set<number>() };
  const trouble: FakeExporter['trouble'] = { beforeStart: () => undefined, beforeStop: () => undefined };
  const ends: FakeExporter['ends'] = new Map();
  const listeners = new Set<Listener>();
  let starts = 0;

  const isServed = (port: number) => [...running.values()].some((other) => other.port === port);
  const isTaken = (port: number) => strangers.seen.has(port) || strangers.hidden.has(port) || isServed(port);

  return {
    ...{ running, strangers, trouble, ends },
    starts: () => starts,
    probe: { isFree: async (port) => !strangers.seen.has(port) && !isServed(port) },
    start: async (request) => {
      trouble.beforeStart(request);
      const found = running.get(request.exportId);
      if (found) return found;
      if (isTaken(request.port)) throw new PortTaken(request.port);
      starts += 1;
      const started = { ...request, pid: 4000 + starts, startedAt: new Date().toISOString() };
      running.set(request.exportId, started);
      return started;
    },
    stop: async (exportId) => {
      trouble.beforeStop(exportId);
      if (!running.delete(exportId)) return { outcome: 'not-running', detail: 'no such export' };
      return { outcome: ends.get(exportId) ?? 'clean', detail: 'it ended' };
    },
    list: async () => [...running.values()],
    countConnections: async () => 2,
    onUnexpectedExit: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    kill: (exportId) => {
      const ended = running.get(exportId);
      if (!ended) throw new Error(`${exportId} does not run`);
      running.delete(exportId);
      for (const listener of listeners) listener({ ...ended, detail: 'killed by SIGKILL' });
    },
  };
};
