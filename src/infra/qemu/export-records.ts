import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../durable-file.ts';

const Process = z.object({ pid: z.int().positive(), startTicks: z.string() });

const ExportRecord = z.object({
  exportId: z.string(),
  exportName: z.string(),
  port: z.int(),
  imagePath: z.string(),
  readOnly: z.boolean(),
  sharedConnections: z.int(),
  startedAt: z.string(),
  /** Missing until the process listens: what a crash in between left is found by its arguments. */
  process: Process.optional(),
  /** Everything written was in the file when the stop began. */
  flushed: z.boolean().optional(),
});

/** What the next hub needs to know of an export. */
export type ExportRecord = Readonly<z.infer<typeof ExportRecord>>;

/** A record that is there but cannot be read, as a power cut leaves it. */
export const damaged = Symbol('damaged');

/** `<id>.json` is written before its process is started and removed last, so a process of ours always has one. */
export interface ExportRecords {
  pidPath(exportId: string): string;
  logPath(exportId: string): string;
  read(exportId: string): Promise<ExportRecord | typeof damaged | undefined>;
  write(record: ExportRecord): Promise<void>;
  /** With pid file and log. */
  remove(exportId: string): Promise<void>;
  ids(): Promise<readonly string[]>;
}

const suffix = '.json';

const decode = (text: string): ExportRecord | typeof damaged => {
  try {
    return ExportRecord.parse(JSON.parse(text));
  } catch {
    return damaged;
  }
};

/** Nothing is flushed: a record has to survive the hub, not the host, whose end is the end of every export. */
export const createExportRecords = (runtimeDir: string): ExportRecords => {
  const path = (exportId: string, extension: string) => join(runtimeDir, `${exportId}${extension}`);
  return {
    pidPath: (exportId) => path(exportId, '.pid'),
    logPath: (exportId) => path(exportId, '.log'),
    read: async (exportId) => {
      try {
        return decode(await readFile(path(exportId, suffix), 'utf8'));
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    write: async (record) => {
      const partialPath = path(record.exportId, `${suffix}.partial`);
      await writeFile(partialPath, `${JSON.stringify(record)}\n`, { mode: 0o600 });
      await rename(partialPath, path(record.exportId, suffix));
    },
    remove: async (exportId) => {
      for (const extension of ['.pid', '.log', `${suffix}.partial`, suffix])
        await rm(path(exportId, extension), { force: true });
    },
    ids: async () => {
      const names = await readdir(runtimeDir).catch((error) => {
        if (errnoOf(error) === 'ENOENT') return []; // nothing was started yet
        throw error;
      });
      return names.filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -suffix.length));
    },
  };
};
