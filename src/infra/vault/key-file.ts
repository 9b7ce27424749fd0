import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { keyBytes } from './cipher.ts';

const readKey = async (path: string): Promise<Buffer | undefined> => {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length !== keyBytes) throw new Error(`the key file ${path} does not hold ${keyBytes} bytes in base64`);
  return key;
};

/**
 * The hub's key from its file (0600), which the first start makes. Whole or not at all, and never replaced: with another key
 * every stored password would be unreadable.
 */
export const loadOrMakeKey = async (path: string): Promise<Buffer> => {
  const kept = await readKey(path);
  if (kept) return kept;
  await mkdir(dirname(path), { recursive: true, mode: 0o750 });
  const partial = `${path}.${process.pid}.partial`;
  const file = await open(partial, 'w', 0o600);
  await file.writeFile(`${randomBytes(keyBytes).toString('base64')}\n`);
  await file.sync();
  await file.close();
  await link(partial, path).catch((error: NodeJS.ErrnoException) => {
    // Another hub was first: its key counts.
    if (error.code !== 'EEXIST') throw error;
  });
  await rm(partial);
  const key = await readKey(path);
  if (!key) throw new Error(`the key file ${path} vanished while it was made`);
  return key;
};
