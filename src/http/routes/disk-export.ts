import { z } from 'zod';
import type { DiskExport, ExportDisk } from '#commands/export-disk.ts';
import { abortableBody } from '../abortable-body.ts';
import { partialReply } from '../byte-range.ts';
import { type Endpoint, resource, type StreamReply } from '../route.ts';
import { diskIndex } from './backup-query.ts';

export type DiskExportRoutesDeps = Readonly<{ exportDisk: ExportDisk }>;

const { stream } = resource({ tag: 'Restore', group: 'group02' });

/** What may stand between the quotes of a header, and in a file name anywhere. */
const plainName = (text: string): string => text.replaceAll(/[^A-Za-z0-9._-]/g, '_');

type Wanted = Readonly<{ format: 'raw' | 'qcow2'; signal: AbortSignal; header: (name: string) => string | undefined }>;

const replyWith = (opened: DiskExport, { format, signal, header }: Wanted): StreamReply => {
  const { disk, sizeBytes, version } = opened;
  const name = plainName(`${disk.backupId}-disk${disk.diskIndex}`);
  // A completed backup never changes, and its id is never given again.
  const { span, status, headers } = partialReply({ sizeBytes, etag: `"${name}-${version}"`, header });
  return {
    body: abortableBody(opened.read(span, signal), signal),
    status,
    headers: { ...headers, 'content-disposition': `attachment; filename="${name}.${format}"` },
    release: opened.close,
  };
};

export const diskExportEndpoints = ({ exportDisk }: DiskExportRoutesDeps): readonly Endpoint[] => [
  stream('GET /backups/:backup_id/disks/:disk_index/export', {
    summary: 'Downloads a whole disk of a backup, flattened from its chain',
    description:
      'Ranges are served (Range, If-Range), so a download that broke off goes on where it was. raw is as long as the disk and ' +
      'read while it is sent; qcow2 holds data alone and is made in a file first, so its first byte takes a while.',
    params: z.object({ backup_id: z.string(), disk_index: diskIndex }),
    query: z.object({ format: z.enum(['raw', 'qcow2'], 'must be raw or qcow2').default('raw') }),
    contentType: 'application/octet-stream',
    otherReplies: { 206: 'application/octet-stream' },
    audit: { action: 'ExportDisk', object: 'backup', id: ['path.backup_id'] },
    errors: [
      ...(['backup-not-found', 'backup-disk-not-found', 'backup-not-restorable', 'image-unreadable'] as const),
      ...(['export-space-missing', 'exports-exhausted'] as const),
    ],
    handle: async ({ params, query, signal, header }) => {
      const { backup_id: backupId, disk_index: index } = params;
      const opened = await exportDisk({ backupId, diskIndex: index, format: query.format }, signal);
      signal.addEventListener('abort', opened.close, { once: true });
      try {
        return replyWith(opened, { format: query.format, signal, header });
      } catch (error) {
        opened.close();
        throw error;
      }
    },
  }),
];
