import type { DiskExport } from '#process-managers/ports.ts';
import type { ExportProcess } from './export-process.ts';

type Listener = (ended: DiskExport & Readonly<{ detail: string }>) => void;

type Watched = Readonly<{ diskExport: DiskExport; process: ExportProcess }>;

/** Tells once of every watched export that ends before it is forgotten. */
export interface ExitWatch {
  watch(diskExport: DiskExport, process: ExportProcess): void;
  /** Its end is nobody's surprise from now on. */
  forget(exportId: string): void;
  /** For an export that ended while no hub ran. Says nothing of one that was told of. */
  tell(diskExport: DiskExport, detail: string): void;
  onExit(listener: Listener): () => void;
  close(): void;
}

/** Nobody is told how a process ended that another hub started: it has to be looked for. */
const lookEveryMs = 500;

const sameProcess = (one: DiskExport | undefined, other: DiskExport): boolean =>
  one !== undefined && one.pid === other.pid && one.startedAt === other.startedAt;

export const createExitWatch = (describe: (ended: Watched) => Promise<string>): ExitWatch => {
  const watched = new Map<string, Watched>();
  const listeners = new Set<Listener>();
  const told = new Map<string, DiskExport>();

  const tell = (diskExport: DiskExport, detail: string): void => {
    if (listeners.size === 0 || sameProcess(told.get(diskExport.exportId), diskExport)) return;
    told.set(diskExport.exportId, diskExport);
    for (const listener of listeners) listener({ ...diskExport, detail });
  };

  const tellIfGone = async (candidate: Watched): Promise<void> => {
    const { diskExport, process } = candidate;
    const stillWatched = () => watched.get(diskExport.exportId) === candidate;
    if (!(await process.isGone())) return;
    const detail = await describe(candidate);
    if (!stillWatched()) return; // a stop came in between
    watched.delete(diskExport.exportId);
    tell(diskExport, detail);
  };

  const timer = setInterval(() => {
    for (const candidate of watched.values()) void tellIfGone(candidate);
  }, lookEveryMs);
  timer.unref();

  return {
    watch: (diskExport, process) => {
      if (sameProcess(watched.get(diskExport.exportId)?.diskExport, diskExport)) return;
      const candidate = { diskExport, process };
      watched.set(diskExport.exportId, candidate);
      void process.ended.then(() => tellIfGone(candidate));
    },
    forget: (exportId) => {
      watched.delete(exportId);
      told.delete(exportId);
    },
    tell,
    onExit: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
    close: () => {
      clearInterval(timer);
      watched.clear();
      listeners.clear();
    },
  };
};
