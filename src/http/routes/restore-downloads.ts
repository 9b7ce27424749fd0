import { createHash } from 'node:crypto';
import type { DirectoryDownload, DownloadFiles, FileDownload } from '#commands/download-files.ts';
import { PiecePool } from '#commands/piece-pool.ts';
import { attachmentHeaders, contentTypeOf } from '../attachment.ts';
import { partialReply } from '../byte-range.ts';
import { isNotModified, withTagForDate } from '../conditional-get.ts';
import type { Log } from '../log.ts';
import type { RequestFacts } from '../request.ts';
import { type Endpoint, resource, type StreamReply } from '../route.ts';
import { fileErrors } from './restore-files.ts';
import type { Access, AccessAudit } from './restore-files-audit.ts';
import { DirectoryQuery, FileQuery, MountParams } from './restore-files-wire.ts';

export type RestoreDownloadsDeps = Readonly<{ downloads: DownloadFiles; audit: AccessAudit; log: Log }>;

/** Measured with 64 KiB to 1 MiB: smaller ones cost calls, larger ones the processor's cache. */
const pieceBytes = 512 * 1024;

const archiveTypes = { zip: 'application/zip', 'tar.gz': 'application/gzip' } as const;

const etagOf = (version: string): string =>
  `"${createHash('sha256').update(version).digest('base64url').slice(0, 27)}"`;

/** RFC 9110 8.8.2.1: not later than now, which a wrong clock in the machine may have made it. */
const httpDate = (iso: string): string => new Date(Math.min(Date.parse(iso), Date.now())).toUTCString();

type Sent = { bytes: number; started: boolean; whole: boolean };

export const restoreDownloadEndpoints = ({ downloads, audit, log }: RestoreDownloadsDeps): readonly Endpoint[] => {
  const { stream } = resource({ tag: 'Restore', group: 'group02' });

  const counted = async function* (bytes: AsyncIterable<Uint8Array>, sent: Sent): AsyncGenerator<Uint8Array> {
    for await (const piece of bytes) {
      sent.bytes += piece.length;
      yield piece;
    }
    sent.whole = true;
  };

  const closing = (download: FileDownload | DirectoryDownload): void => {
    const { path, mount } = download;
    download
      .close()
      .catch((error: unknown) => log.error({ err: error, mountId: mount.mountId, path }, 'a download was not closed'));
  };

  /**
   * In the trail before its first byte leaves, with what is going to be sent; once more when it is broken off. So neither a client
   * that goes away nor a hub that is killed hides a download.
   */
  const fileBody = (access: Access, download: FileDownload, reply: ReturnType<typeof partialReply>): StreamReply => {
    const sent: Sent = { bytes: 0, started: false, whole: false };
    const { span, status, headers } = reply;
    const { mount } = download;
    const range = status === 206 ? { range: `${span.offset}-${span.offset + span.length - 1}` } : {};
    const pool = new PiecePool(pieceBytes, Buffer.allocUnsafeSlow);
    const bytes = download.read({ start: span.offset, end: span.offset + span.length - 1 }, pool);
    const body = (async function* () {
      sent.started = true;
      await audit.accepted(access, mount, { status, bytes: span.length, ...range });
      yield* counted(bytes, sent);
    })();
    const release = (): void => {
      closing(download);
      if (!sent.started) void audit.accepted(access, mount, { status, bytes: 0 });
      else if (!sent.whole)
        void audit.ended(access, mount, { problem: 'the download broke off', facts: { bytes: sent.bytes, ...range } });
    };
    return { body, status, headers, release, recycle: (piece) => pool.giveBack(piece), brokenBy: download.gone };
  };

  const fileReply = (request: RequestFacts, access: Access, download: FileDownload): StreamReply => {
    const { name, modifiedAt, sizeBytes } = download;
    const validators = { etag: etagOf(download.version), modifiedAt };
    const common = { ...attachmentHeaders(name, contentTypeOf(name)), 'last-modified': httpDate(modifiedAt) };
    if (isNotModified(request.header, validators)) {
      const release = (): void => {
        closing(download);
        void audit.accepted(access, download.mount, { status: 304, bytes: 0 });
      };
      return { body: nothing(), status: 304, headers: { etag: validators.etag }, release };
    }
    const header = withTagForDate(request.header, validators);
    const reply = fileBody(access, download, partialReply({ sizeBytes, etag: validators.etag, header }));
    return { ...reply, headers: { ...common, ...reply.headers } };
  };

  const archiveReply = (access: Access, download: DirectoryDownload): StreamReply => {
    const { mount, name, format, path } = download;
    const sent: Sent = { bytes: 0, started: false, whole: false };
    const body = (async function* () {
      sent.started = true;
      await audit.accepted(access, mount, { format, state: 'begun' });
      yield* counted(download.body, sent);
    })();
    const release = (): void => {
      closing(download);
      const { files, unreadable } = download.counts();
      const facts = { format, bytes: sent.bytes, files, unreadable };
      const problem = sent.started && !sent.whole ? 'the download broke off' : undefined;
      void audit.ended(access, mount, { problem, facts });
      if (unreadable > 0)
        log.warn(
          { mountId: mount.mountId, path, unreadable },
          'files of a backup cannot be read and are not in an archive',
        );
    };
    return { body, headers: attachmentHeaders(name, archiveTypes[format]), release, brokenBy: download.gone };
  };

  const replyWith = async (
    request: RequestFacts,
    access: Access,
    open: () => Promise<FileDownload | DirectoryDownload>,
  ): Promise<StreamReply> =>
    audit.watched(access, async () => {
      const download = await open();
      try {
        return download.kind === 'file' ? fileReply(request, access, download) : archiveReply(access, download);
      } catch (error) {
        await download.close();
        throw error;
      }
    });

  return [
    stream('GET /restore/:mount_id/download', {
      summary: 'A file of a mounted backup; of a folder, its zip',
      description: 'Ranges and conditions are served, so that a download that broke off goes on where it was.',
      ...{ params: MountParams, query: FileQuery, errors: [...fileErrors, 'not-a-file'] },
      contentType: 'application/octet-stream',
      otherReplies: { 206: 'application/octet-stream' },
      handle: async ({ params, query, ...request }) => {
        const access: Access = { request, action: 'DownloadFile', mountId: params.mount_id, path: query.path };
        const wanted = { mountId: params.mount_id, path: query.path, signal: request.signal };
        return replyWith(request, access, () => downloads.open(wanted, request.context()));
      },
    }),
    stream('GET /restore/:mount_id/download-directory', {
      summary: 'A folder of a mounted backup as zip or tar.gz',
      description:
        'Made while it is sent. zip holds files; tar.gz holds folders, symbolic and hard links, owners and all permissions too. ' +
        'What cannot be read is listed in `_unreadable-files.txt` inside it.',
      ...{ params: MountParams, query: DirectoryQuery, errors: [...fileErrors, 'not-a-directory'] },
      contentType: 'application/zip',
      handle: async ({ params, query, ...request }) => {
        const { path, format } = query;
        const access: Access = { request, action: 'DownloadDirectory', mountId: params.mount_id, path };
        const wanted = { mountId: params.mount_id, path, format, signal: request.signal };
        return replyWith(request, access, () => downloads.openDirectory(wanted, request.context()));
      },
    }),
  ];
};

const nothing = async function* (): AsyncGenerator<Uint8Array> {
  // the status says it all
};
