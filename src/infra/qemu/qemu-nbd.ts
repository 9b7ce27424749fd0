import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Logger } from 'pino';
import type { DiskExport, DiskExporter, StartExport, StoppedExport } from '#process-managers/ports.ts';
import { createExitWatch } from './exit-watch.ts';
import { createExportLauncher } from './export-launcher.ts';
import { createExportLookup, type Found, type RunningRecord } from './export-lookup.ts';
import { wordsOf } from './export-process.ts';
import { createExportRecords } from './export-records.ts';
import { assertExportId, assertSameExport, assertUsableExport } from './export-request.ts';
import { describeUnexpectedEnd, endProcess, judgeDead, judgeEnd } from './export-stop.ts';
import { flushExport } from './nbd-flush.ts';
import { createOneAtATime } from './one-at-a-time.ts';
import { countConnections } from './tcp-connections.ts';

/*
 * One qemu-nbd per disk. The files of an export in the runtime directory:
 *
 * | file          | written by                                 | says                                                   |
 * |---------------|--------------------------------------------|--------------------------------------------------------|
 * | `<id>.json`   | the hub, before the start and once it runs | what was asked for; which process; flushed (when stopping) |
 * | `<id>.pid`    | qemu-nbd, last act of its start            | it listens; the path, as an argument, names the export |
 * | `<id>.log`    | qemu-nbd                                   | its complaints                                         |
 *
 * A hub may be killed between any two of these. The record comes before the process and goes after it: a process of ours
 * always has a record, and a record without a process is an export that ended.
 */

export type QemuNbdOptions = Readonly<{
  /** Private to the hub, on any file system; made if it is missing. */
  runtimeDir: string;
  bindAddress: string;
  /** What to prefer: a host that forbids io_uring (containers) gets `native`, a file system without O_DIRECT `threads`. */
  aio: 'io_uring' | 'native' | 'threads';
  log: Pick<Logger, 'info' | 'warn'>;
  program?: string;
}>;

/** A `DiskExporter` whose exports outlive it: `close` ends the watching, not the exports. */
export type QemuNbd = DiskExporter & Readonly<{ close(): void }>;

const greetingTimeoutMs = 2_000;
/** Where the host's cache is in use, a flush has to write out all of it. */
const flushTimeoutMs = 120_000;
const listTimeoutMs = 20_000;

const exportOf = ({ process, flushed: _, ...request }: RunningRecord): DiskExport => ({ ...request, pid: process.pid });

export const createQemuNbd = ({ bindAddress, log, ...options }: QemuNbdOptions): QemuNbd => {
  const runtimeDir = resolve(options.runtimeDir);
  const records = createExportRecords(runtimeDir);
  const lookup = createExportLookup(records);
  const launchExport = createExportLauncher({ ...options, bindAddress, records, log });
  const oneAtATime = createOneAtATime();
  const stopping = new Set<string>();
  const watch = createExitWatch(async ({ diskExport, process }) =>
    describeUnexpectedEnd(process.exit(), await wordsOf(records.logPath(diskExport.exportId))),
  );

  const look = async (exportId: string, signal: AbortSignal): Promise<Found> => {
    const found = await lookup.find(exportId, signal);
    if (found.state === 'running') watch.watch(exportOf(found.record), found.process);
    return found;
  };

  const clear = async (exportId: string): Promise<void> => {
    watch.forget(exportId);
    stopping.delete(exportId);
    lookup.forget(exportId);
    await records.remove(exportId);
  };

  const start = async (request: StartExport, signal: AbortSignal): Promise<DiskExport> => {
    const found = await look(request.exportId, signal);
    if (found.state === 'running') {
      assertSameExport(exportOf(found.record), request);
      // A stop that was given up had flushed it; what is written from now on is not.
      if (found.record.flushed) await records.write({ ...found.record, flushed: undefined });
      return exportOf(found.record);
    }
    // Nobody was told of the port of a dead one, or its stop would have come first.
    await clear(request.exportId);
    await mkdir(runtimeDir, { recursive: true, mode: 0o700 });
    const { record, process } = await launchExport(request, signal);
    lookup.started(request.exportId, process);
    watch.watch(exportOf(record), process);
    return exportOf(record);
  };

  const end = async (found: Found & { state: 'running' }, signal: AbortSignal): Promise<StoppedExport> => {
    const { record, process } = found;
    const { exportId, exportName, port, readOnly } = record;
    watch.forget(exportId);
    stopping.add(exportId);
    // Before SIGTERM, so that the 5 s after it are not spent on writing out.
    const flush = readOnly
      ? undefined
      : await flushExport({ host: bindAddress, port, exportName, greetingTimeoutMs, flushTimeoutMs }, signal);
    if (flush?.result === 'acknowledged') await records.write({ ...record, flushed: true });
    const ended = await endProcess(process, signal);
    const words = await wordsOf(records.logPath(exportId));
    return judgeEnd({ readOnly, flush, ended, exit: process.exit(), words });
  };

  const stop = async (exportId: string, signal: AbortSignal): Promise<StoppedExport> => {
    const found = await look(exportId, signal);
    if (found.state === 'none') return { outcome: 'not-running', detail: 'no such export' };
    const stopped =
      found.state === 'running'
        ? await end(found, signal)
        : judgeDead(found, stopping.has(exportId), await wordsOf(records.logPath(exportId)));
    await clear(exportId);
    return stopped;
  };

  const lookAndTell = async (exportId: string, signal: AbortSignal): Promise<DiskExport | undefined> => {
    const found = await look(exportId, signal);
    if (found.state === 'running') return exportOf(found.record);
    if (found.state === 'dead' && typeof found.record !== 'symbol' && found.record.process !== undefined) {
      const { process, ...rest } = found.record;
      const words = await wordsOf(records.logPath(exportId));
      watch.tell(exportOf({ ...rest, process }), describeUnexpectedEnd(found.process?.exit(), words));
    }
    return undefined;
  };

  return {
    start: async (request, signal) => {
      assertUsableExport(request);
      return oneAtATime(request.exportId, () => start(request, signal));
    },
    stop: async (exportId, signal) => {
      assertExportId(exportId);
      return oneAtATime(exportId, () => stop(exportId, signal));
    },
    list: async () => {
      const signal = AbortSignal.timeout(listTimeoutMs);
      const ids = await records.ids();
      const found = await Promise.all(ids.map((id) => oneAtATime(id, () => lookAndTell(id, signal))));
      return found.filter((diskExport) => diskExport !== undefined);
    },
    countConnections,
    onUnexpectedExit: (listener) => watch.onExit(listener),
    close: () => watch.close(),
  };
};
