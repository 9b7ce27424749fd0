import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';

/** What one slot is taken by: one disk of one backup. */
export type SlotHolder = Readonly<{
  slot: number;
  mountId: string;
  backupId: string;
  diskIndex: number;
  takenAt: string;
}>;

export type MountSlotsEvent =
  | Readonly<{ type: 'MountSlotTaken'; data: SlotHolder }>
  | Readonly<{ type: 'MountSlotReleased'; data: Readonly<{ slot: number; mountId: string; at: string }> }>
  | Readonly<{ type: 'MountSlotsCarriedForward'; data: Readonly<{ holders: readonly SlotHolder[] }> }>;

export type MountSlotsState = Readonly<{ holders: readonly SlotHolder[] }>;

export type MountSlotsCommand =
  | Readonly<{
      type: 'TakeMountSlot';
      data: Readonly<{
        mountId: string;
        backupId: string;
        diskIndex: number;
        /** Slots whose device is in use by something that is not ours. */
        occupied: readonly number[];
        at: string;
      }>;
    }>
  | Readonly<{ type: 'ReleaseMountSlot'; data: Readonly<{ mountId: string; at: string }> }>;

/** As many as the kernel has devices `/dev/nbd0` to `/dev/nbd7` for it, whichever driver mounts. */
export const mountSlotCount = 8;

type Take = Extract<MountSlotsCommand, { type: 'TakeMountSlot' }>['data'];

/** Lowest free slot first. One disk is mounted once: a second mount of it is told which one is there. */
const take = (data: Take, { holders }: MountSlotsState): readonly MountSlotsEvent[] => {
  const { mountId, backupId, diskIndex, occupied, at } = data;
  if (holders.some((holder) => holder.mountId === mountId)) return [];
  const sameDisk = holders.find((holder) => holder.backupId === backupId && holder.diskIndex === diskIndex);
  if (sameDisk) {
    throw new DomainError('disk-mounted', `disk ${diskIndex} of ${backupId} has a mount already`, {
      mountId: sameDisk.mountId,
    });
  }
  const slots = Array.from({ length: mountSlotCount }, (_, slot) => slot);
  const slot = slots.find((each) => !occupied.includes(each) && !holders.some((holder) => holder.slot === each));
  if (slot === undefined) {
    const used = holders.length;
    const message = `${used} of ${mountSlotCount} mounts are in use; unmount one, or wait until one expires`;
    throw new DomainError('mount-slots-exhausted', message, { used, max: mountSlotCount });
  }
  return [{ type: 'MountSlotTaken', data: { slot, mountId, backupId, diskIndex, takenAt: at } }];
};

const decide = (command: MountSlotsCommand, state: MountSlotsState): readonly MountSlotsEvent[] => {
  switch (command.type) {
    case 'TakeMountSlot':
      return take(command.data, state);
    case 'ReleaseMountSlot': {
      const { mountId, at } = command.data;
      const held = state.holders.find((holder) => holder.mountId === mountId);
      return held ? [{ type: 'MountSlotReleased', data: { slot: held.slot, mountId, at } }] : [];
    }
  }
};

const evolve = (state: MountSlotsState, event: MountSlotsEvent): MountSlotsState => {
  switch (event.type) {
    case 'MountSlotTaken':
      return { holders: [...state.holders, event.data] };
    case 'MountSlotReleased':
      return { holders: state.holders.filter(({ mountId }) => mountId !== event.data.mountId) };
    case 'MountSlotsCarriedForward':
      return { holders: event.data.holders };
  }
};

/** Who holds the mount slots of a storage node; a stream without an end, so its state is carried forward. */
export const mountSlotsDecider: Decider<MountSlotsState, MountSlotsCommand, MountSlotsEvent> = {
  initialState: { holders: [] },
  decide,
  evolve,
  isWholeState: (event) => event.type === 'MountSlotsCarriedForward',
  carryForward: {
    everyEvents: 100,
    toEvent: ({ holders }) => ({ type: 'MountSlotsCarriedForward', data: { holders } }),
  },
};

export const mountSlotsEventVersions: Versions<MountSlotsEvent> = {
  MountSlotTaken: 1,
  MountSlotReleased: 1,
  MountSlotsCarriedForward: 1,
};
