import { DomainError } from '#domain/errors.ts';
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

type Deps = Readonly<{ findDisk: FindRestorableDisk; reader: DiskReader; maxExports: number }>;

/** Opens a disk of a backup for reading; each export that is open keeps programs and memory busy, so there are only so many. */
export const createExportDisk = ({ findDisk, reader, maxExports }: Deps) => {
  let open = 0;
  return async (
    wanted: Readonly<{ backupId: string; diskIndex: number; format: ExportFormat }>,
    signal: AbortSignal,
  ): Promise<DiskExport> => {
    const disk = await findDisk(wanted.backupId, wanted.diskIndex);
    if (open >= maxExports) {
      const message = `${maxExports} disks are being exported already; try again when one is done`;
      throw new DomainError('exports-exhausted', message, { running: open });
    }
    open += 1;
    try {
      const opened = await reader.open(disk, wanted.format, signal);
      let closed = false;
      const close = (): void => {
        if (closed) return;
        closed = true;
        open -= 1;
        opened.close();
      };
      return { ...opened, disk, close };
    } catch (error) {
      open -= 1;
      throw asRefusal(error, disk);
    }
  };
};

export type ExportDisk = ReturnType<typeof createExportDisk>;
