import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';

/**
 * A file of events is a chain of blocks. Each is a zstd frame, and before it a frame that zstd programs skip, which holds
 * the block's kind, size and hash: so `zstdcat` shows plain lines of JSON, while a cut or flipped file is found out block
 * by block. A hash covers the block and the hash before it: no block can be left out, moved or put in.
 */
export type BlockKind = 'header' | 'events' | 'trailer';

export type Block = Readonly<{
  index: number;
  kind: BlockKind;
  eventCount: number;
  text: Buffer;
  /** Where in the file the block ends. */
  endBytes: number;
  hash: Buffer;
}>;

/** A file of events that is not as it was written; nothing of it may be trusted. */
export class EventFileDamaged extends Error {
  override readonly name = 'EventFileDamaged';
  readonly path: string;

  constructor(path: string, what: string, options?: ErrorOptions) {
    super(`${path} is damaged: ${what}.`, options);
    this.path = path;
  }
}

const skippableMagic = 0x184d2a5e;
const tag = Buffer.from('SEVT');
const kinds: readonly BlockKind[] = ['header', 'events', 'trailer'];
// Magic and size of the frame, then tag, kind, count of events, length of the block, hash.
const at = { magic: 0, size: 4, tag: 8, kind: 12, eventCount: 13, length: 17, hash: 21 } as const;
const hashBytes = 32;
const prefixBytes = at.hash + hashBytes;
// Of events, the largest that a server can store has 16 MiB.
const maxBlockBytes = 128 * 1024 * 1024;
const compressionLevel = 3;

export const firstHash: Buffer = Buffer.alloc(hashBytes);

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

const chainHash = (previous: Uint8Array, prefix: Buffer, body: Uint8Array): Buffer =>
  createHash('sha256').update(previous).update(prefix.subarray(0, at.hash)).update(body).digest();

/** The block's bytes and the hash that the next one builds on. */
export const encodeBlock = async (
  { kind, eventCount, text }: Pick<Block, 'kind' | 'eventCount' | 'text'>,
  previousHash: Uint8Array,
): Promise<Readonly<{ bytes: Buffer; hash: Buffer }>> => {
  const body = await compress(text, { params: { [constants.ZSTD_c_compressionLevel]: compressionLevel } });
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32LE(skippableMagic, at.magic);
  prefix.writeUInt32LE(prefixBytes - at.tag, at.size);
  tag.copy(prefix, at.tag);
  prefix.writeUInt8(kinds.indexOf(kind), at.kind);
  prefix.writeUInt32LE(eventCount, at.eventCount);
  prefix.writeUInt32LE(body.length, at.length);
  const hash = chainHash(previousHash, prefix, body);
  hash.copy(prefix, at.hash);
  return { bytes: Buffer.concat([prefix, body]), hash };
};

/** Up to `length` bytes; fewer at the end of the file. */
const readBytes = async (file: FileHandle, position: number, length: number): Promise<Buffer> => {
  const bytes = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
};

type Prefix = Readonly<{ kind: BlockKind; eventCount: number; lengthBytes: number }>;

const decodePrefix = (prefix: Buffer): Prefix | undefined => {
  const kind = kinds[prefix.readUInt8(at.kind)];
  const lengthBytes = prefix.readUInt32LE(at.length);
  const isOurs = prefix.readUInt32LE(at.magic) === skippableMagic && prefix.subarray(at.tag, at.kind).equals(tag);
  if (!isOurs || kind === undefined || lengthBytes > maxBlockBytes) return undefined;
  return { kind, eventCount: prefix.readUInt32LE(at.eventCount), lengthBytes };
};

type Place = Readonly<{ index: number; startBytes: number; previousHash: Buffer }>;

const readBlock = async (file: FileHandle, path: string, place: Place): Promise<Block | undefined> => {
  const { index, startBytes, previousHash } = place;
  const where = `block ${index} at byte ${startBytes}`;
  const prefix = await readBytes(file, startBytes, prefixBytes);
  if (prefix.length === 0) return undefined;
  if (prefix.length < prefixBytes) throw new EventFileDamaged(path, `it ends in the middle of ${where}`);
  const decoded = decodePrefix(prefix);
  if (!decoded) {
    throw new EventFileDamaged(path, index === 0 ? 'it is not an export of events' : `${where} does not begin as one`);
  }
  const { kind, eventCount, lengthBytes } = decoded;
  const body = await readBytes(file, startBytes + prefixBytes, lengthBytes);
  if (body.length < lengthBytes) throw new EventFileDamaged(path, `it ends in the middle of ${where}`);
  const hash = chainHash(previousHash, prefix, body);
  if (!hash.equals(prefix.subarray(at.hash)))
    throw new EventFileDamaged(path, `the checksum of ${where} does not match`);
  const text = await decompress(body, { maxOutputLength: maxBlockBytes }).catch((cause: unknown) => {
    throw new EventFileDamaged(path, `${where} cannot be unpacked`, { cause });
  });
  return { index, kind, eventCount, text, endBytes: startBytes + prefixBytes + lengthBytes, hash };
};

/** The blocks of a file up to its end, each checked before it is handed out. Throws `EventFileDamaged`. */
export async function* readBlocks(path: string): AsyncIterable<Block> {
  await using file = await open(path, 'r');
  let place: Place = { index: 0, startBytes: 0, previousHash: firstHash };
  for (;;) {
    const block = await readBlock(file, path, place);
    if (!block) return;
    yield block;
    place = { index: place.index + 1, startBytes: block.endBytes, previousHash: block.hash };
  }
}
