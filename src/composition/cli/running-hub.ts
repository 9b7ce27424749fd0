import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { operatorTokenPath } from '#infra/operator-token.ts';

/** The hub that works in a data directory, as a command line program on the same host reaches it. */
export type RunningHub = Readonly<{
  url: string;
  pid: number;
  /** Calls the API as the operator of this host; the path begins with `/`. The caller reads or cancels the body. */
  call: (path: string, init?: RequestInit) => Promise<Response>;
}>;

const Address = z.object({ url: z.string(), pid: z.number().int().positive() });
const callTimeoutMs = 30_000;

const readOrNone = (path: string): Promise<string | undefined> =>
  readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

/** Undefined when no hub runs there; files that a killed one left behind count for nothing. */
export const findRunningHub = async (dataDir: string): Promise<RunningHub | undefined> => {
  const [address, token] = await Promise.all([
    readOrNone(join(dataDir, 'hub.json')),
    readOrNone(operatorTokenPath(dataDir)),
  ]);
  if (address === undefined || token === undefined) return undefined;
  const { url, pid } = Address.parse(JSON.parse(address));
  if (!isAlive(pid)) return undefined;
  return {
    url,
    pid,
    call: (path, init = {}) => {
      const headers = new Headers(init.headers);
      headers.set('authorization', `Bearer ${token.trim()}`);
      return fetch(new URL(path, url), { signal: AbortSignal.timeout(callTimeoutMs), ...init, headers });
    },
  };
};
