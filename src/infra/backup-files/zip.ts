import { promisify } from 'node:util';
import { constants, crc32, inflateRaw as inflateRawWithCallback } from 'node:zlib';
import type { PiecePool } from '#commands/piece-pool.ts';
import {
  type ArchiveEntry,
  type ArchiveOptions,
  closeEntry,
  contentOf,
  type FileEntry,
  listEntry,
} from './archive-entries.ts';
import { blockBytes, deflateBlock, deflateEnd, packedAtOnce } from './deflate.ts';
import { inOrder } from './in-order.ts';
import { bytesOf, isUtf8, type RawName } from './names.ts';
import { centralHeader, dataDescriptor, endRecords, localHeader, type ZipEntry, type ZipSizes } from './zip-records.ts';

const inflateRaw = promisify(inflateRawWithCallback);

/*
 * Not a library's: the ones there are pack one file after the other in one thread, and know no names but UTF-8.
 */

/** Below it the packed size fits into 32 bits too, whatever packing does to it. */
const largeFrom = 0xf000_0000;
/** Smaller files take longer to pack than to send. */
const worthPacking = 512;
// 4.4.10: the length of a name has 16 bits.
const longestName = 0xffff;

/**
 * Readers on Windows take a backslash for a separator. systemd's units have them, so they stay; but none that would lead out of
 * the folder that the archive is unpacked to.
 */
const nameOf = (path: RawName): RawName =>
  path.startsWith('\\') || path.split(/[\\/]/).includes('..') ? path.replaceAll('\\', '_') : path;

const zipEntryOf = ({ path, attributes, sizeBytes }: FileEntry): ZipEntry => {
  const name = nameOf(path);
  return {
    ...{ name: bytesOf(name), nameIsUtf8: isUtf8(name) },
    // Without setuid and the like: whoever unpacks a zip does not expect any.
    ...{ mode: attributes.mode & 0o777, modifiedMs: Number(attributes.modifiedNs / 1_000_000n) },
    ...{ method: 8, streamed: true, large: sizeBytes >= largeFrom },
  };
};

/** The directory at the end of the file, packed while it waits there: paths repeat themselves, and there may be millions. */
class Directory {
  readonly #packed: Promise<Uint8Array>[] = [];
  #records: Buffer[] = [];
  #waitingBytes = 0;
  #entries = 0;
  #bytes = 0;

  async add(record: Buffer): Promise<void> {
    this.#records.push(record);
    this.#waitingBytes += record.length;
    this.#entries += 1;
    this.#bytes += record.length;
    if (this.#waitingBytes < blockBytes) return;
    const packed = deflateBlock(Buffer.concat(this.#records));
    this.#records = [];
    this.#waitingBytes = 0;
    this.#packed.push(packed);
    await packed;
  }

  async *bytes(offset: number): AsyncGenerator<Buffer> {
    for (const packed of this.#packed) yield await inflateRaw(await packed, { finishFlush: constants.Z_SYNC_FLUSH });
    if (this.#records.length > 0) yield Buffer.concat(this.#records);
    yield endRecords({ entries: this.#entries, offset, sizeBytes: this.#bytes });
  }
}

type ReadyFile =
  | Readonly<{ kind: 'packed'; entry: FileEntry; zip: ZipEntry; sizes: ZipSizes; content: Uint8Array }>
  | Readonly<{ kind: 'begun'; entry: FileEntry; zip: ZipEntry }>;

type Ready = ReadyFile | Readonly<{ kind: 'left out'; entry: Exclude<ArchiveEntry, FileEntry> }>;

/** A file that fits into a block is packed right away, several of them side by side. */
const prepare = async (entry: ArchiveEntry, pool: PiecePool): Promise<Ready> => {
  if (entry.kind !== 'file') return { kind: 'left out', entry };
  const zip = zipEntryOf(entry);
  if (entry.rest) return { kind: 'begun', entry, zip };
  const { first } = entry;
  const packed = first.length < worthPacking ? first : Buffer.concat([await deflateBlock(first), deflateEnd]);
  const method = packed.length < first.length ? 8 : 0;
  const content = method === 8 ? packed : first;
  const sizes = { crc: crc32(first), packedBytes: content.length, sizeBytes: first.length };
  if (content !== first) pool.giveBack(first);
  return { kind: 'packed', entry, zip: { ...zip, method, streamed: false }, sizes, content };
};

class ZipWriter {
  readonly #directory = new Directory();
  readonly #options: ArchiveOptions;
  #offset = 0;

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  async *add(entries: AsyncIterable<ArchiveEntry> | Iterable<ArchiveEntry>): AsyncGenerator<Uint8Array> {
    const dispose = ({ entry }: Ready): Promise<void> => closeEntry(entry);
    const work = (entry: ArchiveEntry): Promise<Ready> => prepare(entry, this.#options.pool);
    for await (const ready of inOrder(entries, work, { atOnce: packedAtOnce, dispose })) {
      try {
        if (this.#fits(ready)) yield* this.#file(ready);
      } finally {
        await closeEntry(ready.entry);
      }
    }
  }

  async *end(): AsyncGenerator<Uint8Array> {
    const { unreadable } = this.#options;
    if (unreadable.count > 0) yield* this.add([listEntry(unreadable)]);
    yield* this.#directory.bytes(this.#offset);
  }

  #fits(ready: Ready): ready is ReadyFile {
    const { unreadable } = this.#options;
    const { path } = ready.entry;
    unreadable.saw(path);
    if (ready.kind !== 'left out') {
      if (ready.zip.name.length <= longestName) return true;
      unreadable.add(path, 'its name is too long for a zip file');
    } else if (ready.entry.kind === 'unreadable') unreadable.add(path, ready.entry.problem);
    return false;
  }

  async *#file(ready: ReadyFile): AsyncGenerator<Uint8Array> {
    const offset = this.#offset;
    const { zip } = ready;
    let sizes: ZipSizes;
    if (ready.kind === 'packed') {
      sizes = ready.sizes;
      yield this.#count(Buffer.concat([localHeader(zip, sizes), ready.content]));
    } else {
      yield this.#count(localHeader(zip));
      sizes = yield* this.#content(ready.entry);
      yield this.#count(dataDescriptor(zip, sizes));
    }
    await this.#directory.add(centralHeader(zip, sizes, offset));
    this.#options.onFile();
  }

  async *#content(entry: FileEntry): AsyncGenerator<Uint8Array, ZipSizes> {
    let crc = 0;
    let sizeBytes = 0;
    const start = this.#offset;
    const pack = async (block: Uint8Array) => ({ block, packed: await deflateBlock(block) });
    for await (const { block, packed } of inOrder(contentOf(entry, this.#options), pack, {
      atOnce: packedAtOnce,
    })) {
      crc = crc32(block, crc);
      sizeBytes += block.length;
      this.#options.pool.giveBack(block);
      yield this.#count(packed);
    }
    yield this.#count(deflateEnd);
    return { crc, sizeBytes, packedBytes: this.#offset - start };
  }

  #count<T extends Uint8Array>(bytes: T): T {
    this.#offset += bytes.length;
    return bytes;
  }
}

export const zipOf = async function* (
  entries: AsyncIterable<ArchiveEntry>,
  options: ArchiveOptions,
): AsyncGenerator<Uint8Array> {
  const writer = new ZipWriter(options);
  yield* writer.add(entries);
  yield* writer.end();
};
