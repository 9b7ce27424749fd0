import type { FileHandle } from 'node:fs/promises';
import type { PiecePool } from '#commands/piece-pool.ts';

/** Fills the piece from there, or as much of it as the file still has. */
export const readAt = async (handle: FileHandle, piece: Uint8Array, position: number): Promise<Uint8Array> => {
  let filled = 0;
  while (filled < piece.length) {
    const { bytesRead } = await handle.read(piece, filled, piece.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return piece.subarray(0, filled);
};

type Span = Readonly<{ start: number; length: number; pool: PiecePool; signal: AbortSignal }>;

/** Reads one piece ahead of its reader. Ends early, with a short piece, where the file does. */
export const readPieces = async function* (handle: FileHandle, span: Span): AsyncGenerator<Uint8Array> {
  const { start, length, pool, signal } = span;
  const end = start + length;
  const bytesAt = (position: number): number => Math.min(pool.pieceBytes, end - position);
  const read = (position: number): Promise<Uint8Array> | undefined => {
    if (position >= end) return undefined;
    const promise = readAt(handle, pool.take(bytesAt(position)), position);
    promise.catch(() => undefined); // it is looked at later, or never when the reader leaves
    return promise;
  };
  let position = start;
  for (let ahead = read(position); ahead; ) {
    signal.throwIfAborted();
    const piece = await ahead;
    const isWhole = piece.length === bytesAt(position);
    position += piece.length;
    ahead = isWhole ? read(position) : undefined;
    yield piece;
  }
};
