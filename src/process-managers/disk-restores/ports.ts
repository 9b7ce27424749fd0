import type { KnownDiskRestore } from '#domain/disk-restore/disk-restore.ts';
import type { RestoreFailureKind, RestorePhase } from '#domain/disk-restore/events.ts';

/** A restore that cannot be: final, whoever tries again. */
export class RestoreFailure extends Error {
  readonly kind: RestoreFailureKind;
  constructor(kind: RestoreFailureKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RestoreFailure';
    this.kind = kind;
  }
}

export type OnProgress = (phase: RestorePhase, percent: number) => void;

/** Writes disks back. Every call may be repeated: a crash between effect and record is normal. */
export interface DiskCopier {
  /**
   * Writes the whole disk, from its beginning, flushes it, and compares it if that was asked for. An image gets its name
   * with `publish` only. Returns what tells the file from any other of its name; null for an NBD export. Throws
   * `RestoreFailure`, or the signal's reason; then nothing of an image is left.
   */
  copy(job: KnownDiskRestore, onProgress: OnProgress, signal: AbortSignal): Promise<string | null>;
  /** Gives a copied image its name. Throws `RestoreFailure` when that is taken meanwhile. */
  publish(job: KnownDiskRestore): Promise<void>;
  /** Removes what there is of a copy that never got its name. */
  discard(job: KnownDiskRestore): Promise<void>;
}
