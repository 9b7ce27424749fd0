import { createCipheriv, createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

const chunkBytes = 4 * 1024 ** 2;

export type ByteSource = (sizeBytes: number) => Uint8Array;

const digestOf = (seed: string): Buffer => createHash('sha256').update(seed).digest();

/** Bytes that do not compress, the same for the same seed, at the speed of AES. */
export const randomBytesOf = (seed: string): ByteSource => {
  const key = digestOf(seed);
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16, 32));
  const zeroes = Buffer.alloc(chunkBytes);
  return (sizeBytes) => cipher.update(zeroes.subarray(0, sizeBytes));
};

/** Lines of a log that say much the same. */
export const logLinesOf = (seed: string): ByteSource => {
  const text = Buffer.alloc(chunkBytes, `2026-01-01T00:00:00Z ${seed} app[42]: request served, nothing to report\n`);
  return (sizeBytes) => text.subarray(0, sizeBytes);
};

/** UUID that is always the same for a seed. */
export const uuidOf = (seed: string): string => {
  const hex = digestOf(seed).toString('hex');
  // RFC 9562 version 8: from a scheme of its own.
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
};

export type SampleFile = Readonly<{
  path: string;
  sizeBytes: number;
  source: ByteSource;
  /** Every n-th chunk only is written, the rest are holes. */
  everyNth?: number;
}>;

/** Writes a file piece by piece. */
export const writeSampleFile = async (file: SampleFile, signal: AbortSignal): Promise<void> => {
  const { path, sizeBytes, source, everyNth = 1 } = file;
  const handle = await open(path, 'w');
  try {
    for (let at = 0; at < sizeBytes; at += chunkBytes * everyNth) {
      signal.throwIfAborted();
      const piece = source(Math.min(chunkBytes, sizeBytes - at));
      await handle.write(piece, 0, piece.length, at);
    }
    await handle.truncate(sizeBytes);
  } finally {
    await handle.close();
  }
};
