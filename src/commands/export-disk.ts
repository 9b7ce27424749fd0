import { DomainError } from '#domain/errors.ts';
import type { OpenDisk, OpenExports } from './open-exports.ts';
import type { FindRestorableDisk, RestorableDisk } from './restorable-disk.ts';

export type ExportFormat = 'raw' | 'qcow2';

export type ByteSpan = Readonly<{ offset: number; length: number }>;

/** The flattened content of a disk, in one of the formats, as it can be read from any byte on. */
export type OpenedExport = Readonly<{
  sizeBytes: number;
  /** Differs as soon as any byte may differ. */
  version: string;
  /** Programs start with the first read and are gone with the last, whoever breaks off. */
  read: (span: ByteSpan, signal: AbortSignal) => AsyncIterable<Uint8Array>;
  /** May be repeated. */
  close: () => void;
}>;

/** Reads disks out of chains of images. */
export interface DiskReader {
  /** Throws `ImageUnreadable` when the image or one that it builds on is missing or damaged, `NoSpace` for lack of it. */
  open(disk: RestorableDisk, format: ExportFormat, signal: AbortSignal): Promise<OpenedExport>;
}

export class ImageUnreadable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ImageUnreadable';
  }
}

export class NoSpace extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'NoSpace';
  }
}

export const asRefusal = (error: unknown, { backupId, diskIndex }: RestorableDisk): unknown => {
  if (error instanceof ImageUnreadable) {
    const message = `disk ${diskIndex} of ${backupId} cannot be read: ${error.message}`;
    return new DomainError('image-unreadable', message, { backupId, diskIndex }, { cause: error });
  }
  if (error instanceof NoSpace) {
    return new DomainError('export-space-missing', error.message, { backupId, diskIndex }, { cause: error });
  }
  return error;
};

export type DiskExport = OpenedExport & Readonly<{ disk: RestorableDisk }>;

type Deps = Readonly<{ findDisk: FindRestorableDisk; reader: DiskReader; exports: Pick<OpenExports, 'begin'> }>;

/** Opens a disk of a backup for reading. */
export const createExportDisk =
  ({ findDisk, reader, exports }: Deps) =>
  async (
    { backupId, diskIndex, format }: OpenDisk & Readonly<{ format: ExportFormat }>,
    signal: AbortSignal,
  ): Promise<DiskExport> => {
    const disk = await findDisk(backupId, diskIndex);
    // From here on a removal is refused; one that passes its check in this very moment breaks the download off.
    const end = exports.begin({ backupId, diskIndex });
    try {
      const opened = await reader.open(disk, format, signal);
      const close = (): void => {
        end();
        opened.close();
      };
      return { ...opened, disk, close };
    } catch (error) {
      end();
      throw asRefusal(error, disk);
    }
  };

export type ExportDisk = ReturnType<typeof createExportDisk>;
