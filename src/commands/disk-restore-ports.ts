import type { RestoreTarget } from '#domain/disk-restore/events.ts';

/** Where restores may write. */
export interface RestoreTargets {
  /**
   * Looks and changes nothing. Throws `restore-target-refused` for what is not allowed or cannot be, `restore-target-exists`
   * for a file that is there and may not be replaced, `invalid-request` for an address that is none.
   */
  assertUsable(target: RestoreTarget): Promise<void>;
}

/** Opens an image with everything that it builds on. */
export interface ImageChains {
  /** Throws `ImageUnreadable`. */
  sizeOf(imagePath: string, signal: AbortSignal): Promise<number>;
}

export type OpenDiskRestore = Readonly<{
  restoreId: string;
  backupId: string;
  diskIndex: number;
  target: RestoreTarget;
}>;

/** Restores that have not ended. */
export interface OpenDiskRestores {
  open(): Promise<readonly OpenDiskRestore[]>;
}
