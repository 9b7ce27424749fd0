import { z } from 'zod';
import type { FileList, ListEnd, ListedFile } from '#commands/browse-files.ts';

const flagWords: Readonly<Record<string, boolean>> = {
  ...{ '1': true, t: true, T: true, true: true, TRUE: true, True: true },
  ...{ '0': false, f: false, F: false, false: false, FALSE: false, False: false },
};

/** What is neither is no reason to refuse: clients have sent all kinds. */
export const Flag = z
  .string()
  .optional()
  .transform((text) => flagWords[text ?? ''] ?? false)
  .meta({ description: '1, t, true, 0, f or false; anything else is false', type: 'string' });

export const maxListed = 50_000;

const Cursor = z
  .base64url()
  .max(20_000)
  .optional()
  .meta({ description: '`next_cursor` of the list before, same path' });

const Limit = z.coerce.number().int().min(1).max(maxListed).optional();

const Path = z.string().max(16_384);

export const MountParams = z.object({ mount_id: z.string() });

export const FileQuery = z.object({ path: Path.min(1).meta({ description: 'As a list tells it, or as it is shown' }) });

export const FilesQuery = z.object({
  path: Path.default('/'),
  recursive: Flag,
  limit: Limit.meta({ description: `Entries of one list; recursive lists end after ${maxListed} whatever it says` }),
  cursor: Cursor,
});

export const SearchQuery = z.object({
  pattern: z
    .string()
    .min(1)
    .max(255)
    .meta({ description: 'Of names: `*`, `?`, `[a-z]`; plain text is looked for anywhere in them' }),
  path: Path.default('/'),
  case_sensitive: Flag,
  limit: Limit,
  cursor: Cursor,
  format: z.enum(['json', 'ndjson']).optional(),
});

export const DirectoryQuery = FileQuery.extend({ format: z.enum(['zip', 'tar.gz']).default('zip') });

export const FileEntry = z.object({
  name: z.string(),
  path: z.string().meta({ description: 'For further calls. Bytes of a name that are not UTF-8 are U+EF80 to U+EFFF' }),
  type: z.enum(['directory', 'file']),
  size: z.number().int(),
  mode: z.string(),
  modified_time: z.iso.datetime(),
  is_symlink: z.boolean(),
  symlink_target: z.string().optional(),
});

export const FilesReply = z.object({
  mount_id: z.string(),
  path: z.string(),
  files: z.array(FileEntry),
  total_count: z.int(),
  truncated: z.literal(true).optional(),
  next_cursor: z.string().optional().meta({ description: 'There is more: the `cursor` of the next list' }),
  unreadable_count: z
    .int()
    .optional()
    .meta({ description: 'Entries that the filesystem cannot read; left out when there are none' }),
});

export const fileToWire = (file: ListedFile): z.input<typeof FileEntry> => ({
  name: file.name,
  path: file.path,
  type: file.kind === 'directory' ? 'directory' : 'file',
  size: file.sizeBytes,
  mode: file.mode.toString(8).padStart(4, '0'),
  modified_time: file.modifiedAt,
  is_symlink: file.kind === 'symlink',
  ...(file.linkTarget === undefined ? {} : { symlink_target: file.linkTarget }),
});

export const cursorOf = (key: string): string => Buffer.from(key).toString('base64url');

export const keyOf = (cursor: string | undefined): { after?: string } =>
  cursor === undefined ? {} : { after: Buffer.from(cursor, 'base64url').toString() };

export type ListBody = Readonly<{
  list: FileList;
  /** Read already, so that a refusal has been told as one. */
  first: IteratorResult<readonly ListedFile[], ListEnd>;
  onEnd: (end: ListEnd) => void;
}>;

/** How long a search may look without a word: proxies, and the hub itself, give up a connection on which nothing moves. */
const quietMs = 5_000;

/** Every part as text as soon as it is there; `blank` when there was none for long. */
const written = async function* (
  { list, first }: ListBody,
  blank: string,
  textOf: (files: readonly ListedFile[]) => string,
): AsyncGenerator<string, ListEnd> {
  let toldAtMs = Date.now();
  for (let step = first; ; step = await list.parts.next()) {
    if (step.done) return step.value;
    if (step.value.length === 0 && Date.now() - toldAtMs < quietMs) continue;
    yield step.value.length === 0 ? blank : textOf(step.value);
    toldAtMs = Date.now();
  }
};

/** One JSON object, written while it is being found: `total_count` can only come last. */
export const jsonBody = async function* (body: ListBody, head: Readonly<{ mount_id: string; path: string }>) {
  let separator = '';
  yield `${JSON.stringify(head).slice(0, -1)},"files":[`;
  const end = yield* written(body, '\n', (files) => {
    const text = separator + files.map((file) => JSON.stringify(fileToWire(file))).join(',');
    separator = ',';
    return text;
  });
  body.onEnd(end);
  const { count, cursor, unreadable } = end;
  const tail = {
    total_count: count,
    ...(cursor === undefined ? {} : { truncated: true, next_cursor: cursorOf(cursor) }),
    ...(unreadable === 0 ? {} : { unreadable_count: unreadable }),
  };
  yield `],${JSON.stringify(tail).slice(1)}`;
};

/** One entry a line; a reader skips empty lines. What ends the list is told by the last line, which has no `name`. */
export const ndjsonBody = async function* (body: ListBody): AsyncGenerator<string> {
  const end = yield* written(body, '\n', (files) =>
    files.map((file) => `${JSON.stringify(fileToWire(file))}\n`).join(''),
  );
  body.onEnd(end);
  const next = end.cursor === undefined ? null : cursorOf(end.cursor);
  yield `${JSON.stringify({ total_count: end.count, next_cursor: next, unreadable_count: end.unreadable })}\n`;
};
