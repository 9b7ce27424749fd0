import { EventFileDamaged } from './blocks.ts';
import { type EventFileHeader, type EventFileTrailer, readEventFile } from './event-file.ts';
import type { EventRef, StoredEvent } from './stored-event.ts';

/** Files that together are one history: each goes on where the one before it ends. */
export type FileSet = Readonly<{
  paths: readonly string[];
  /** What the target must hold already; undefined for a history from its beginning. */
  after: EventRef | undefined;
  events: number;
  last: EventRef | undefined;
}>;

/** What the operator can mend; told in its sentence. */
export class ImportRefused extends Error {
  override readonly name = 'ImportRefused';
}

const describe = ({ stream, revision }: EventRef): string => `${stream} revision ${revision}`;

const assertGoesOn = (path: string, { after }: EventFileHeader, last: EventRef | undefined): void => {
  if (after?.id === last?.id && after?.stream === last?.stream) return;
  const ends = last ? `ends with ${describe(last)}` : 'is empty';
  const begins = after ? `goes on after ${describe(after)}` : 'begins anew';
  throw new ImportRefused(
    `${path} does not go on where the file before it ends: that one ${ends}, this one ${begins}.`,
  );
};

type Checked = Readonly<{ header: EventFileHeader; trailer: EventFileTrailer }>;

/** A file, and the hash of its last block in hex where somebody noted it. */
export type KnownFile = Readonly<{ path: string; hash?: string }>;

const checkFile = async (
  { path, hash }: KnownFile,
  onEvents: (events: readonly StoredEvent[]) => void,
): Promise<Checked> => {
  let header: EventFileHeader | undefined;
  let trailer: EventFileTrailer | undefined;
  for await (const part of readEventFile(path)) {
    if (part.kind === 'header') header = part.header;
    else if (part.kind === 'events') onEvents(part.events);
    else {
      trailer = part.trailer;
      if (hash !== undefined && part.hash !== hash)
        throw new EventFileDamaged(path, 'it is not the file that was noted');
    }
  }
  if (!header || !trailer) throw new Error(`${path} has neither header nor trailer`);
  return { header, trailer };
};

/** Reads every byte of every file and compares it with its checksums. Throws `EventFileDamaged` or `ImportRefused`. */
export const checkFiles = async (
  files: readonly KnownFile[],
  onEvents: (events: readonly StoredEvent[]) => void,
): Promise<FileSet> => {
  let after: EventRef | undefined;
  let last: EventRef | undefined;
  let events = 0;
  for (const [index, file] of files.entries()) {
    const { header, trailer } = await checkFile(file, onEvents);
    if (index === 0) after = header.after;
    else assertGoesOn(file.path, header, last);
    last = trailer.last ?? header.after ?? last;
    events += trailer.events;
  }
  return { paths: files.map(({ path }) => path), after, events, last };
};

/** The events of all files, checked once more as they are read: a file may have changed since. */
export async function* eventsOf({ paths }: FileSet): AsyncIterable<StoredEvent> {
  for (const path of paths) {
    for await (const part of readEventFile(path)) if (part.kind === 'events') yield* part.events;
  }
}
