import { type FileHandle, mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { AnchorFile, AnchorFiles, AuditAnchor } from '#commands/audit-ports.ts';
import { errnoOf, syncDirectory } from './durable-file.ts';
import { unlessAborted } from './qemu/program.ts';

const timeoutMs = 5_000;

export const anchorPathBelow = (rootPath: string): string => join(rootPath, '.sendense', 'audit-anchors.ndjson');

const decimal = z.string().regex(/^\d{1,20}$/);

const Line = z.object({
  ...{ stream: z.string(), revision: decimal, position: decimal, count: z.int().positive() },
  ...{ hash: z.string().regex(/^[0-9a-f]{64}$/), at: z.iso.datetime() },
});

const parseLine = (line: string): AuditAnchor | undefined => {
  try {
    return Line.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
};

/** Everything of a file of anchors; the piece that a crash cut off at its end is not a line. */
const parse = (place: string, text: string): AnchorFile => {
  const lines = text.split('\n').slice(0, -1);
  const parsed = lines.map(parseLine);
  return {
    place,
    anchors: parsed.filter((anchor) => anchor !== undefined),
    unreadableLines: parsed.flatMap((anchor, index) => (anchor === undefined ? [index + 1] : [])),
  };
};

/** An anchor file wherever it is: a copy that somebody took away, too. Throws when it is not there. */
export const readAnchorFile = async (path: string): Promise<AnchorFile> => parse(path, await readFile(path, 'utf8'));

const longestLine = 4_096;

/** What a crash cut off was never acknowledged, and would swallow the next line. */
const dropTornLine = async (file: FileHandle): Promise<void> => {
  const { size } = await file.stat();
  const start = Math.max(0, size - longestLine);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(longestLine), 0, longestLine, start);
  const whole = start + buffer.subarray(0, bytesRead).lastIndexOf('\n') + 1;
  if (whole < size) await file.truncate(whole);
};

const appendLine = async (rootPath: string, anchor: AuditAnchor): Promise<void> => {
  // Not made here: a mount that is gone must not come back as an empty folder.
  if (!(await stat(rootPath)).isDirectory()) throw new Error(`${rootPath} is not a folder`);
  const path = anchorPathBelow(rootPath);
  const folder = dirname(path);
  await mkdir(folder, { mode: 0o750 }).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error;
  });
  {
    await using file = await open(path, 'a+', 0o640);
    await dropTornLine(file);
    await file.appendFile(`${JSON.stringify(anchor)}\n`);
    await file.sync();
  }
  await syncDirectory(folder);
  await syncDirectory(rootPath);
};

/** What hangs on a dead mount cannot be cancelled, but whoever waits for it is let go. */
const bounded = <T>(rootPath: string, work: () => Promise<T>): Promise<T> =>
  unlessAborted(work, AbortSignal.timeout(timeoutMs)).catch((error: unknown) => {
    if (error instanceof DOMException && error.name === 'TimeoutError')
      throw new Error(`the file system of ${rootPath} did not answer within ${timeoutMs / 1000} s`, { cause: error });
    throw error;
  });

/** Anchors in the repositories: a folder that still hangs from the last time is left alone, it would hold one thread more. */
export const createAnchorFiles = (): AnchorFiles => {
  const hanging = new Set<string>();
  return {
    append: async (rootPath, anchor) => {
      if (hanging.has(rootPath)) throw new Error(`the file system of ${rootPath} still does not answer`);
      hanging.add(rootPath);
      const appended = appendLine(rootPath, anchor).finally(() => hanging.delete(rootPath));
      appended.catch(() => undefined);
      await bounded(rootPath, () => appended);
    },
    read: (rootPath) => {
      const path = anchorPathBelow(rootPath);
      return bounded(rootPath, async () => {
        await stat(rootPath);
        return readAnchorFile(path).catch((error: unknown) => {
          if (errnoOf(error) !== 'ENOENT') throw error;
          return { place: path, anchors: [], unreadableLines: [] };
        });
      });
    },
  };
};
