import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { afterEach, describe, test } from 'node:test';
import { createMountAccess, type MountHolds } from '#commands/mount-access.ts';
import { type CommandContext, noEvents } from '#commands/ports.ts';
import type { RestoreMountEvent } from '#domain/restore-mount/events.ts';
import { streamOf } from '#domain/streams.ts';
import { at } from '../support/backup-facts.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';

const mountId = 'e4805a6f-8ee7-4f3c-8309-2f12362c7398';
const request = {
  ...{ mountId, backupId: 'backup-a-1', diskIndex: 0, vmName: 'a', imagePath: '/r/a.qcow2', storageNode: 'hub-1' },
  driver: 'fuse',
  ...{ slot: 0, mountPath: '/mnt/r/m', devicePath: '/run/m/disk', runtimeFolder: '/run/m' },
  ...{ idleSeconds: 3600, expiresAt: at(3600), at: at() },
} as const;
const mounted: RestoreMountEvent = {
  type: 'MountCompleted',
  data: {
    ...{ mountId, partitioned: true, skipped: [], at: at(1) },
    partitions: [{ number: 1, name: 'disk0p1', sizeBytes: 5, filesystem: 'ext4', label: 'x' }],
  },
};

const context = (): CommandContext => ({ actor: 'user:a', correlationId: mountId, commandId: randomUUID() });

describe('reading through a mount', () => {
  let holds: MountHolds | undefined;
  afterEach(() => holds?.close());

  const open = async (...events: readonly RestoreMountEvent[]) => {
    const store = createFakeEventStore();
    const stream = streamOf.restoreMount(mountId);
    if (events.length > 0) await store.append(stream, events, noEvents, context());
    let seconds = 10;
    holds = createMountAccess({
      ...{
        store,
        clock: { now: () => at(seconds) },
        ids: { uuid: () => randomUUID() },
        onProblem: (error) => assert.fail(String(error)),
      },
      ...{ recordEverySeconds: 60, idleSeconds: 3600 },
    });
    const accesses = () => store.typesIn(stream).filter((type) => type === 'MountAccessed').length;
    return { holds, accesses, pass: (by: number) => (seconds += by) };
  };

  test('shows where its filesystems are', async () => {
    const { holds } = await open({ type: 'MountRequested', data: request }, mounted);
    const { mount, release } = await holds.hold(mountId, context());
    assert.deepEqual(mount.partitions, [
      { number: 1, sizeBytes: 5, filesystem: 'ext4', label: 'x', rootPath: '/mnt/r/m/partition-1' },
    ]);
    release();
  });

  test('is told to the log about once a minute, however much is read', async () => {
    const { holds, accesses, pass } = await open({ type: 'MountRequested', data: request }, mounted);
    for (let read = 0; read < 100; read += 1) (await holds.hold(mountId, context())).release();
    assert.equal(accesses(), 1);
    pass(59);
    (await holds.hold(mountId, context())).release();
    assert.equal(accesses(), 1);
    assert.equal(holds.lastAccess(mountId), at(69));
    pass(1);
    (await holds.hold(mountId, context())).release();
    assert.equal(accesses(), 2);
  });

  test('holds it until the last reader has gone', async () => {
    const { holds } = await open({ type: 'MountRequested', data: request }, mounted);
    const [one, two] = [await holds.hold(mountId, context()), await holds.hold(mountId, context())];
    one.release();
    one.release();
    assert.ok(holds.isHeld(mountId));
    two.release();
    assert.ok(!holds.isHeld(mountId));
  });

  test('is broken off by an unmount, which waits until the readers have let go', async () => {
    const { holds } = await open({ type: 'MountRequested', data: request }, mounted);
    const { signal, release } = await holds.hold(mountId, context());
    let left = false;
    signal.addEventListener('abort', () => {
      left = true;
      release();
    });
    await holds.breakOff(mountId, 10_000);
    assert.ok(left && !holds.isHeld(mountId));
  });

  test('does not keep an unmount waiting for ever', async () => {
    const { holds } = await open({ type: 'MountRequested', data: request }, mounted);
    const { signal } = await holds.hold(mountId, context());
    await holds.breakOff(mountId, 1);
    assert.ok(signal.aborted);
  });

  test('is refused before it is there and when it is not any more', async () => {
    const unknown = await open();
    await assert.rejects(unknown.holds.hold(mountId, context()), { code: 'mount-not-found' });
    const mounting = await open({ type: 'MountRequested', data: request });
    await assert.rejects(mounting.holds.hold(mountId, context()), { code: 'mount-not-ready' });
    assert.ok(!mounting.holds.isHeld(mountId));
  });
});
