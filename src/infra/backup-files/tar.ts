import {
  type ArchiveEntry,
  type ArchiveOptions,
  closeEntry,
  contentOf,
  type FileEntry,
  listEntry,
} from './archive-entries.ts';
import type { RawName } from './names.ts';
import { archiveEnd, entryHeader, paddingOf, tarTypes } from './tar-records.ts';

/** Beyond so many, further files with several names are stored under each of them. */
const maxShared = 100_000;
const zeros = Buffer.alloc(64 * 1024);

class TarWriter {
  readonly #options: ArchiveOptions;
  readonly #shared = new Map<string, RawName>();

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  async *add(entry: ArchiveEntry): AsyncGenerator<Uint8Array> {
    const { unreadable } = this.#options;
    unreadable.saw(entry.path);
    switch (entry.kind) {
      case 'file':
        yield* this.#file(entry);
        return;
      case 'directory':
        yield entryHeader({ ...entry, path: `${entry.path}/`, type: tarTypes.directory });
        return;
      case 'symlink':
        yield entryHeader({ ...entry, type: tarTypes.symlink, linkTarget: entry.target });
        return;
      case 'unreadable':
        unreadable.add(entry.path, entry.problem);
        return;
      case 'other':
        return;
    }
  }

  async *#file(entry: FileEntry): AsyncGenerator<Uint8Array> {
    this.#options.onFile();
    const { path, attributes, sizeBytes } = entry;
    const { sharedAs } = attributes;
    const known = sharedAs === undefined ? undefined : this.#shared.get(sharedAs);
    if (known !== undefined) {
      yield entryHeader({ path, attributes, type: tarTypes.hardLink, linkTarget: known });
      return;
    }
    if (sharedAs !== undefined && this.#shared.size < maxShared) this.#shared.set(sharedAs, path);
    yield entryHeader({ path, attributes, type: tarTypes.file, sizeBytes });
    let missing = sizeBytes;
    for await (const block of contentOf(entry, this.#options)) {
      missing -= block.length;
      yield block;
    }
    // The header has promised so much, so zeros stand for what cannot be read; the list tells.
    for (; missing > 0; missing -= zeros.length) {
      this.#options.signal.throwIfAborted();
      yield zeros.subarray(0, missing);
    }
    yield paddingOf(sizeBytes);
  }
}

export const tarOf = async function* (
  entries: AsyncIterable<ArchiveEntry>,
  options: ArchiveOptions,
): AsyncGenerator<Uint8Array> {
  const writer = new TarWriter(options);
  for await (const entry of entries) {
    try {
      yield* writer.add(entry);
    } finally {
      await closeEntry(entry);
    }
  }
  const { unreadable } = options;
  if (unreadable.count > 0) yield* writer.add(listEntry(unreadable));
  yield archiveEnd;
};
