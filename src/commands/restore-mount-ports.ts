import type { MountDriver } from '#domain/restore-mount/events.ts';

/** What this host can mount with. */
export type MountAbility = Readonly<{
  /** Null: nothing can be mounted here. */
  driver: MountDriver | null;
  /** One sentence: why this driver, or what is missing. */
  reason: string;
}>;

/** Where a mount appears; follows from its id and slot alone. */
export type MountPlace = Readonly<{ mountPath: string; devicePath: string; runtimeFolder: string }>;

/** The host that mounts, before anything is mounted. */
export interface MountHost {
  /** Looked at anew each time: modules and packages come and go. */
  ability(): Promise<MountAbility>;
  /** Slots whose device somebody else uses. */
  occupiedSlots(): Promise<readonly number[]>;
  placeOf(mountId: string, slot: number, driver: MountDriver): MountPlace;
  /** Whether an image is there and may be read. */
  isReadable(imagePath: string): Promise<boolean>;
}
