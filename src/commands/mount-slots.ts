import { mountSlotsDecider, type SlotHolder } from '#domain/mount-slots/mount-slots.ts';
import { streamOf } from '#domain/streams.ts';
import { load } from './handle.ts';
import type { EventStore } from './ports.ts';

export const mountSlotsTarget = (storageNode: string) => ({
  decider: mountSlotsDecider,
  stream: streamOf.mountSlots(storageNode),
});

/** Who holds the slots of a storage node now, asked of the log itself. */
export const slotHolders = async (store: EventStore, storageNode: string): Promise<readonly SlotHolder[]> => {
  const { decider, stream } = mountSlotsTarget(storageNode);
  return (await load(store, decider, stream)).state.holders;
};
