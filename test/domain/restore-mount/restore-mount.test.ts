import { describe, test } from 'node:test';
import type { RestoreMountEvent, UnmountCause } from '#domain/restore-mount/events.ts';
import { type RestoreMountCommand, restoreMountDecider } from '#domain/restore-mount/restore-mount.ts';
import { at } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

const mountId = 'm';
const request = {
  ...{ mountId, backupId: 'backup-a-1', diskIndex: 0, vmName: 'a', imagePath: '/r/a.qcow2', storageNode: 'hub-1' },
  driver: 'fuse',
  ...{ slot: 0, mountPath: '/mnt/r/m', devicePath: '/run/m/disk', runtimeFolder: '/run/m' },
  ...{ idleSeconds: 60, expiresAt: at(60), at: at() },
} as const;
const requested: RestoreMountEvent = { type: 'MountRequested', data: request };
const content = {
  ...{ mountId, partitioned: true, skipped: [], at: at(1) },
  partitions: [{ number: 1, name: 'disk0p1', sizeBytes: 5, filesystem: 'ext4', label: '' }],
};
const exposed: RestoreMountEvent = { type: 'DiskExposed', data: { mountId, pid: 7, sizeBytes: 9, at: at(1) } };
const mounted: RestoreMountEvent = { type: 'MountCompleted', data: content };
const complete: RestoreMountCommand = { type: 'CompleteMount', data: { ...content, pid: 7, sizeBytes: 9 } };
const failure = { mountId, kind: 'no-filesystem', reason: 'nothing there', at: at(1) } as const;
const failed: RestoreMountEvent = { type: 'MountFailed', data: failure };
const unmount = (cause: UnmountCause = 'requested') => ({ mountId, cause, detail: 'x', at: at(2) });
const unmounting: RestoreMountEvent = { type: 'UnmountRequested', data: unmount() };
const stuck: RestoreMountEvent = { type: 'UnmountFailed', data: { mountId, reason: 'busy', at: at(3) } };
const gone: RestoreMountEvent = { type: 'Unmounted', data: { mountId, at: at(4) } };
const accessed = (second: number): RestoreMountEvent => ({
  type: 'MountAccessed',
  data: { mountId, at: at(second), expiresAt: at(second + 60) },
});
const access = (second: number): RestoreMountCommand => ({
  type: 'RecordAccess',
  data: { mountId, at: at(second), expiresAt: at(second + 60) },
});
const expire = (second: number): RestoreMountCommand => ({ type: 'ExpireMount', data: { mountId, at: at(second) } });
const mount = (...history: readonly RestoreMountEvent[]) => given(restoreMountDecider, ...history);

describe('a mount', () => {
  test('begins once', () => {
    mount().when({ type: 'RequestMount', data: request }).thenEvents(requested);
    mount(requested).when({ type: 'RequestMount', data: request }).thenNothing();
  });
  test('tells what became of it in one go', () => mount(requested).when(complete).thenEvents(exposed, mounted));
  test('that is ending already is not completed any more', () =>
    mount(requested, unmounting).when(complete).thenNothing());
  test('fails once, and not when it is there', () => {
    mount(requested).when({ type: 'FailMount', data: failure }).thenEvents(failed);
    mount(requested, failed).when({ type: 'FailMount', data: failure }).thenNothing();
    mount(requested, exposed, mounted).when({ type: 'FailMount', data: failure }).thenNothing();
  });
});

describe('the end of a mount', () => {
  test('is asked for once, of one that is there in any form', () => {
    const ask: RestoreMountCommand = { type: 'RequestUnmount', data: unmount() };
    mount(requested).when(ask).thenEvents(unmounting);
    mount(requested, exposed, mounted).when(ask).thenEvents(unmounting);
    mount(requested, mounted, unmounting, stuck).when(ask).thenEvents(unmounting);
    mount(requested, mounted, unmounting).when(ask).thenNothing();
    mount(requested, failed).when(ask).thenNothing();
  });
  test('is refused of one that is gone or never was', () => {
    const ask: RestoreMountCommand = { type: 'RequestUnmount', data: unmount() };
    mount().when(ask).thenRefused('mount-not-found');
    mount(requested, failed, gone).when(ask).thenRefused('mount-not-found');
  });
  test('that cannot be had is told, and counts', () => {
    const tell: RestoreMountCommand = { type: 'RecordUnmountFailure', data: { mountId, reason: 'busy', at: at(3) } };
    mount(requested, mounted, unmounting).when(tell).thenEvents(stuck);
    mount(requested, mounted).when(tell).thenNothing();
  });
  test('is told once', () => {
    const tell: RestoreMountCommand = { type: 'RecordUnmounted', data: { mountId, at: at(4) } };
    mount(requested, mounted, unmounting).when(tell).thenEvents(gone);
    mount(requested, mounted, unmounting, gone).when(tell).thenNothing();
  });
});

describe('the deadline of a mount', () => {
  const expired: RestoreMountEvent = {
    type: 'UnmountRequested',
    data: { mountId, at: at(60), cause: 'expired', detail: `nothing was read since ${at()}` },
  };
  test('ends it when it has passed, and not before', () => {
    mount(requested, mounted).when(expire(59)).thenNothing();
    mount(requested, mounted).when(expire(60)).thenEvents(expired);
  });
  test('slides with each access', () => {
    mount(requested, mounted).when(access(30)).thenEvents(accessed(30));
    mount(requested, mounted, accessed(30)).when(expire(60)).thenNothing();
    mount(requested, mounted, accessed(30)).when(access(29)).thenNothing();
  });
  test('means nothing to one that is ending', () => {
    mount(requested, mounted, unmounting).when(expire(99)).thenNothing();
    mount(requested, mounted, unmounting).when(access(99)).thenNothing();
  });
});
