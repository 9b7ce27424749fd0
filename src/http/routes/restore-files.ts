import type { BrowseFiles, FileList, ListRequest } from '#commands/browse-files.ts';
import { nameMatcher } from '#commands/name-pattern.ts';
import type { ErrorCode } from '#domain/errors.ts';
import type { Log } from '../log.ts';
import type { RequestFacts } from '../request.ts';
import { type Endpoint, OtherForm, resource } from '../route.ts';
import type { Access, AccessAudit } from './restore-files-audit.ts';
import {
  FileEntry,
  FileQuery,
  FilesQuery,
  FilesReply,
  fileToWire,
  jsonBody,
  keyOf,
  type ListBody,
  MountParams,
  maxListed,
  ndjsonBody,
  SearchQuery,
} from './restore-files-wire.ts';

export type RestoreFilesDeps = Readonly<{ browse: BrowseFiles; audit: AccessAudit; log: Log }>;

export const fileErrors: readonly ErrorCode[] = [
  ...(['mount-not-found', 'mount-not-ready', 'file-not-found', 'file-unreadable', 'path-outside-mount'] as const),
];

const json = 'application/json';
const ndjson = 'application/x-ndjson';

const wantsLines = (format: string | undefined, accept: string | undefined): boolean =>
  format === 'ndjson' || (format === undefined && accept === ndjson);

type Listing = Readonly<{ access: Access; list: ListRequest; lines: boolean }>;

export const restoreFilesEndpoints = ({ browse, audit, log }: RestoreFilesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Restore', group: 'group02' });

  /** The first part is read before anything is answered: whatever is to be refused is refused then. */
  const begin = async ({
    access,
    list: request,
  }: Listing): Promise<Readonly<{ list: FileList; body: Omit<ListBody, 'onEnd'> }>> => {
    const list = await browse.list(request, access.request.context());
    try {
      const first = await list.parts.next();
      await audit.accepted(access, list.mount);
      return { list, body: { list, first } };
    } catch (error) {
      await list.close();
      throw error;
    }
  };

  const streamed = async (listing: Listing, head: Readonly<{ mount_id: string; path: string }>): Promise<OtherForm> => {
    const { list, body } = await audit.watched(listing.access, () => begin(listing));
    const onEnd: ListBody['onEnd'] = ({ unreadable }) => {
      if (unreadable > 0) log.warn({ ...head, unreadable }, 'files of a backup cannot be read');
    };
    const whole = { ...body, onEnd };
    const close = (): void => {
      void list.parts
        .return({ count: 0, cursor: undefined, unreadable: 0 })
        .then(list.close)
        .catch((error: unknown) => log.error({ err: error, ...head }, 'a list of files was not closed'));
    };
    return new OtherForm(listing.lines ? ndjson : json, {
      body: listing.lines ? ndjsonBody(whole) : jsonBody(whole, head),
      release: close,
      brokenBy: list.gone,
    });
  };

  const accessOf = (request: RequestFacts, rest: Omit<Access, 'request'>): Access => ({ request, ...rest });

  return [
    endpoint('GET /restore/:mount_id/files', {
      summary: 'What is in a folder of a mounted backup',
      description:
        'By the bytes of the names; recursive lists tell a folder before what is in it and never follow links. ' +
        `A recursive list ends after ${maxListed} entries: \`truncated\`, and \`next_cursor\` for those behind. ` +
        'It is written while it is found, so `total_count` comes last.',
      ...{ params: MountParams, query: FilesQuery, reply: FilesReply, errors: [...fileErrors, 'not-a-directory'] },
      forms: [json],
      handle: async ({ params, query, ...request }) => {
        const { mount_id: mountId } = params;
        const { path, recursive, limit, cursor } = query;
        const access = accessOf(request, { action: 'ListFiles', mountId, path });
        const bound = limit ?? (recursive ? maxListed : Number.POSITIVE_INFINITY);
        const list = { mountId, path, recursive, limit: bound, signal: request.signal, ...keyOf(cursor) };
        return streamed({ access, list, lines: false }, { mount_id: mountId, path: path || '/' });
      },
    }),
    endpoint('GET /restore/:mount_id/search', {
      summary: 'Files of a mounted backup by a pattern of their names, below a folder',
      description:
        'The same reply as a recursive list, of those that match; or one entry a line (`format=ndjson`, or the Accept ' +
        'header), the last line being the count. While nothing is found an empty line tells every few seconds that it goes on.',
      ...{ params: MountParams, query: SearchQuery, reply: FilesReply, errors: [...fileErrors, 'not-a-directory'] },
      forms: [ndjson],
      handle: async ({ params, query, ...request }) => {
        const { mount_id: mountId } = params;
        const { path, pattern, case_sensitive: caseSensitive, limit = maxListed, cursor, format } = query;
        const access = accessOf(request, { action: 'SearchFiles', mountId, path });
        const match = nameMatcher({ pattern, caseSensitive });
        const lines = wantsLines(format, request.header('accept'));
        const list = { mountId, path, recursive: true, match, limit, signal: request.signal, ...keyOf(cursor) };
        return streamed({ access, list, lines }, { mount_id: mountId, path: path || '/' });
      },
    }),
    endpoint('GET /restore/:mount_id/file-info', {
      summary: 'One file or folder of a mounted backup; of a symbolic link, the link',
      ...{ params: MountParams, query: FileQuery, reply: FileEntry, errors: fileErrors },
      handle: async ({ params, query, ...request }) => {
        const access = accessOf(request, { action: 'InspectFile', mountId: params.mount_id, path: query.path });
        return audit.watched(access, async () => {
          const { mount, file } = await browse.info(params.mount_id, query.path, request.context());
          await audit.accepted(access, mount);
          return fileToWire(file);
        });
      },
    }),
  ];
};
