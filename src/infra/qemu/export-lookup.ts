import { adopt, type ExportProcess, startTimeoutMs, waitUntilListening } from './export-process.ts';
import { damaged, type ExportRecord, type ExportRecords } from './export-records.ts';
import { findByArgument, hasArgument, isAlive, type ProcessIdentity } from './process-table.ts';

/** What is there of an export: no trace, a record whose process ended, or a running process. */
export type Found =
  | Readonly<{ state: 'none' }>
  | Readonly<{ state: 'dead'; record: ExportRecord | typeof damaged; process: ExportProcess | undefined }>
  | Readonly<{ state: 'running'; record: RunningRecord; process: ExportProcess }>;

export type RunningRecord = ExportRecord & Readonly<{ process: ProcessIdentity }>;

export interface ExportLookup {
  find(exportId: string, signal: AbortSignal): Promise<Found>;
  /** A child of this process, which need not be looked for. */
  started(exportId: string, process: ExportProcess): void;
  forget(exportId: string): void;
}

/** Names an export among the arguments of all processes. */
export const pidArgument = (pidPath: string): string => `--pid-file=${pidPath}`;

/** Believes the process table only: a pid file stays behind, and its pid may be another program's by now. */
const findProcess = async (
  record: ExportRecord,
  records: ExportRecords,
  signal: AbortSignal,
): Promise<ExportProcess | undefined> => {
  const pidPath = records.pidPath(record.exportId);
  const argument = pidArgument(pidPath);
  if (record.process !== undefined) {
    const isOurs = (await isAlive(record.process)) && (await hasArgument(record.process.pid, argument));
    return isOurs ? adopt(record.process) : undefined;
  }
  // An earlier hub was killed while the program started.
  const identity = await findByArgument(argument);
  if (identity === undefined) return undefined;
  const process = adopt(identity);
  const request = { pid: identity.pid, pidPath, timeoutMs: startTimeoutMs, isGone: () => process.isGone() };
  if (await waitUntilListening(request, signal)) return process;
  throw new Error(`process ${identity.pid} of export ${record.exportId} does not listen`);
};

export const createExportLookup = (records: ExportRecords): ExportLookup => {
  const known = new Map<string, ExportProcess>();
  return {
    find: async (exportId, signal) => {
      const record = await records.read(exportId);
      if (record === undefined) return { state: 'none' };
      if (record === damaged) return { state: 'dead', record, process: undefined };
      const process = known.get(exportId) ?? (await findProcess(record, records, signal));
      if (process === undefined || (await process.isGone())) return { state: 'dead', record, process };
      known.set(exportId, process);
      const running = { ...record, process: process.identity };
      if (record.process === undefined) await records.write(running);
      return { state: 'running', record: running, process };
    },
    started: (exportId, process) => {
      known.set(exportId, process);
    },
    forget: (exportId) => {
      known.delete(exportId);
    },
  };
};
