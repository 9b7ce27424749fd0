import { DomainError } from '#domain/errors.ts';

export type OpenDisk = Readonly<{ backupId: string; diskIndex: number }>;

/** Disks that are being downloaded from this hub; each keeps programs and memory busy, so there are only so many. */
export const createOpenExports = (limit: number) => {
  const open = new Set<OpenDisk>();
  return {
    limit,
    list: (): readonly OpenDisk[] => [...open],
    /** Returns what ends it, which may be repeated. Throws `exports-exhausted`. */
    begin: (disk: OpenDisk): (() => void) => {
      if (open.size >= limit) {
        const message = `${limit} disks are being exported already; try again when one is done`;
        throw new DomainError('exports-exhausted', message, { running: open.size });
      }
      // The same disk may be open more than once.
      const entry = { ...disk };
      open.add(entry);
      return () => {
        open.delete(entry);
      };
    },
  };
};

export type OpenExports = ReturnType<typeof createOpenExports>;
