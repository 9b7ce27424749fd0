import { crc32 } from 'node:zlib';
import type { PiecePool } from '#commands/piece-pool.ts';
import { blockBytes, deflateBlock, deflateEnd, packedAtOnce } from './deflate.ts';
import { inOrder } from './in-order.ts';

// RFC 1952: deflate, no name, no time, made on Unix.
const header = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3);

/** Pieces of any size as blocks of one. Copies them, so that a piece is free at once. */
const blocksOf = async function* (bytes: AsyncIterable<Uint8Array>, pool: PiecePool): AsyncGenerator<Uint8Array> {
  let block = pool.take();
  let filled = 0;
  for await (const piece of bytes) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + blockBytes - filled);
      block.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled < blockBytes) continue;
      yield block;
      block = pool.take();
      filled = 0;
    }
    pool.giveBack(piece);
  }
  if (filled > 0) yield block.subarray(0, filled);
};

const pack = async (block: Uint8Array) => ({ block, packed: await deflateBlock(block) });

/** `pool`: where the pieces come from, whose memory is free once they are packed; its pieces are blocks. */
export const gzipOf = async function* (bytes: AsyncIterable<Uint8Array>, pool: PiecePool): AsyncGenerator<Uint8Array> {
  let crc = 0;
  let sizeBytes = 0;
  yield header;
  for await (const { block, packed } of inOrder(blocksOf(bytes, pool), pack, { atOnce: packedAtOnce })) {
    crc = crc32(block, crc);
    sizeBytes += block.length;
    pool.giveBack(block);
    yield packed;
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc);
  trailer.writeUInt32LE(sizeBytes % 2 ** 32, 4);
  yield Buffer.concat([deflateEnd, trailer]);
};
