import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import {
  type MountSlotsCommand,
  type MountSlotsEvent,
  mountSlotCount,
  mountSlotsDecider,
} from '#domain/mount-slots/mount-slots.ts';
import { at } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

const take = (mountId: string, diskIndex: number, occupied: readonly number[] = []): MountSlotsCommand => ({
  type: 'TakeMountSlot',
  data: { mountId, backupId: 'backup-a-1', diskIndex, occupied, at: at() },
});
const taken = (slot: number, mountId: string, diskIndex: number): MountSlotsEvent => ({
  type: 'MountSlotTaken',
  data: { slot, mountId, backupId: 'backup-a-1', diskIndex, takenAt: at() },
});
const release = (mountId: string): MountSlotsCommand => ({ type: 'ReleaseMountSlot', data: { mountId, at: at(9) } });
const released = (slot: number, mountId: string): MountSlotsEvent => ({
  type: 'MountSlotReleased',
  data: { slot, mountId, at: at(9) },
});
const slots = (...history: readonly MountSlotsEvent[]) => given(mountSlotsDecider, ...history);
const all = Array.from({ length: mountSlotCount }, (_, slot) => taken(slot, `m${slot}`, slot));

describe('mount slots', () => {
  test('are given lowest first', () =>
    slots(taken(0, 'a', 0), taken(2, 'b', 1))
      .when(take('c', 2))
      .thenEvents(taken(1, 'c', 2)));
  test('whose device others use are passed over', () =>
    slots(taken(0, 'a', 0))
      .when(take('b', 1, [1, 2]))
      .thenEvents(taken(3, 'b', 1)));
  test('are kept by who asks again', () =>
    slots(taken(0, 'a', 0))
      .when(take('a', 0))
      .thenNothing());
  test('are refused to a second mount of one disk, which is told of the first', () => {
    const { details } = slots(taken(0, 'a', 0))
      .when(take('b', 0))
      .thenRefused('disk-mounted');
    assert.deepEqual(details, { mountId: 'a' });
  });
  test('are eight', () => {
    const { details } = slots(...all)
      .when(take('ninth', 8))
      .thenRefused('mount-slots-exhausted');
    assert.deepEqual(details, { used: 8, max: 8 });
  });
  test('are free for another once they are released', () =>
    slots(...all, released(5, 'm5'))
      .when(take('ninth', 8))
      .thenEvents(taken(5, 'ninth', 8)));
  test('are released by their mount alone, and once', () => {
    slots(taken(0, 'a', 0))
      .when(release('a'))
      .thenEvents(released(0, 'a'));
    slots(taken(0, 'a', 0))
      .when(release('b'))
      .thenNothing();
    slots(taken(0, 'a', 0), released(0, 'a'))
      .when(release('a'))
      .thenNothing();
  });
  test('are the same after their state was carried forward', () => {
    const state = fold(mountSlotsDecider, [...all, released(5, 'm5')]);
    const carried = mountSlotsDecider.carryForward?.toEvent(state);
    assert.ok(carried && mountSlotsDecider.isWholeState?.(carried));
    assert.deepEqual(fold(mountSlotsDecider, [taken(1, 'forgotten', 3), carried]), state);
  });
});
