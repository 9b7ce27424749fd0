import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { load } from '#commands/handle.ts';
import { createMountDisk } from '#commands/mount-disk.ts';
import { slotHolders } from '#commands/mount-slots.ts';
import { type CommandContext, noEvents } from '#commands/ports.ts';
import type { MountAbility } from '#commands/restore-mount-ports.ts';
import { restoreMountTarget } from '#commands/restore-mount-target.ts';
import { createUnmountDisk } from '#commands/unmount-disk.ts';
import { streamOf } from '#domain/streams.ts';
import { settle } from '#process-managers/restore-mounts/perform.ts';
import { type DiskMounts, MountRefused } from '#process-managers/restore-mounts/ports.ts';
import { judgeMounts, takeDownStrays } from '#process-managers/restore-mounts/sweep.ts';
import { at, backupStarted } from '../../support/backup-facts.ts';
import { createFakeEventStore } from '../../support/fake-event-store.ts';

const storageNode = 'hub-1';
const backupId = 'backup-pgtest1-1795313765';
const signal = new AbortController().signal;

type Trouble = { mount?: Error; unmount?: Error; loss?: string };

/** Disks in memory: what is mounted, and what goes wrong next. */
const fakeDisks = () => {
  const there = new Map<string, Readonly<{ mountPath: string; runtimeFolder: string; slot: number | null }>>();
  const trouble: Trouble = {};
  const disks: DiskMounts = {
    mount: async ({ mountId, mountPath, runtimeFolder, slot }) => {
      if (trouble.mount) throw trouble.mount;
      there.set(mountId, { mountPath, runtimeFolder, slot });
      const partitions = [{ number: 1, name: 'disk0p1', sizeBytes: 5, filesystem: 'ext4', label: '' }];
      return { pid: 7, sizeBytes: 9, partitioned: true, partitions, skipped: [] };
    },
    unmount: async ({ mountId }) => {
      if (trouble.unmount) throw trouble.unmount;
      there.delete(mountId);
    },
    lossOf: async ({ mountId }) => (there.has(mountId) ? trouble.loss : 'it is gone'),
    list: async () => [...there].map(([mountId, place]) => ({ mountId, ...place })),
  };
  return { disks, there, trouble };
};

const open = async (ability: MountAbility = { driver: 'fuse', reason: 'a test' }) => {
  const store = createFakeEventStore();
  await store.append(
    streamOf.backup(backupId),
    [
      backupStarted(),
      { type: 'BackupCompleted', data: { backupId, at: at(5), bytesTransferred: 0, totalBytes: 0, disks: [] } },
    ],
    noEvents,
    context(),
  );
  let seconds = 10;
  const clock = { now: () => at(seconds) };
  const ids = { uuid: () => randomUUID() };
  const held = { isHeld: false, lastAccess: undefined as string | undefined, brokenOff: [] as string[] };
  const holds = {
    isHeld: () => held.isHeld,
    lastAccess: () => held.lastAccess,
    breakOff: async (mountId: string) => void held.brokenOff.push(mountId),
  };
  const fake = fakeDisks();
  const deps = { store, clock, ids, disks: fake.disks, holds, storageNode };
  const stateOf = async (mountId: string) => {
    const { decider, stream } = restoreMountTarget(mountId);
    return (await load(store, decider, stream)).state;
  };
  const look = (mountId: string) => settle(mountId, deps, undefined, signal);
  /** In place of the process manager that follows the log. */
  const awaitMount = (mountId: string) => look(mountId).then(() => stateOf(mountId));
  const host = {
    ability: async () => ability,
    occupiedSlots: async () => [],
    placeOf: (mountId: string) => ({
      mountPath: `/mnt/r/${mountId}`,
      devicePath: '/d',
      runtimeFolder: `/run/${mountId}`,
    }),
    isReadable: async () => true,
  };
  const mountDisk = createMountDisk({ store, clock, ids, host, storageNode, idleSeconds: 60, awaitMount });
  const unmountDisk = createUnmountDisk({ store, clock, awaitMount });
  return {
    ...{ store, deps, fake, held, stateOf, look, host },
    mount: () => mountDisk({ backupId, diskIndex: 0 }, context(), signal),
    mountWith: (over: Partial<typeof host>) =>
      createMountDisk({ store, clock, ids, host: { ...host, ...over }, storageNode, idleSeconds: 60, awaitMount })(
        { backupId, diskIndex: 0 },
        context(),
        signal,
      ),
    unmount: (mountId: string) => unmountDisk(mountId, context(), signal),
    sweep: async (retryFailed = false) => {
      for (const mountId of await judgeMounts(deps, retryFailed)) await look(mountId);
    },
    holders: () => slotHolders(store, storageNode),
    pass: (by: number) => {
      seconds += by;
    },
  };
};

const context = (): CommandContext => ({ actor: 'user:a', correlationId: 'c', commandId: randomUUID() });

describe('a mount of a disk', () => {
  test('takes a slot, is there, and gives all of it back', async () => {
    const { mount, unmount, holders, fake, stateOf, held } = await open();
    const { mountId } = await mount();
    assert.equal((await stateOf(mountId)).status, 'mounted');
    assert.deepEqual(
      (await holders()).map(({ slot }) => slot),
      [0],
    );
    await unmount(mountId);
    assert.deepEqual([await holders(), fake.there.size, held.brokenOff], [[], 0, [mountId]]);
    await assert.rejects(unmount(mountId), { code: 'mount-not-found' });
  });

  test('that fails leaves nothing that blocks the next one', async () => {
    const { mount, fake, holders } = await open();
    fake.trouble.mount = new MountRefused('no-filesystem', 'nothing there');
    await assert.rejects(mount(), { code: 'nothing-mountable' });
    assert.deepEqual(await holders(), []);
    delete fake.trouble.mount;
    await mount();
  });

  test('is refused where the host cannot mount, or the image is gone, and takes no slot', async () => {
    const able = await open();
    await assert.rejects(able.mountWith({ isReadable: async () => false }), { code: 'image-unreadable' });
    const unable = await open({ driver: null, reason: 'mounting needs root' });
    await assert.rejects(unable.mount(), { code: 'mounts-unavailable', message: /needs root/ });
    assert.deepEqual([await able.holders(), await unable.holders()], [[], []]);
  });

  test('goes on with the slot that a request took whose hub died', async () => {
    const { mount, store, holders } = await open();
    const data = { slot: 4, mountId: randomUUID(), backupId, diskIndex: 0, takenAt: at() };
    await store.append(streamOf.mountSlots(storageNode), [{ type: 'MountSlotTaken', data }], noEvents, context());
    assert.equal((await mount()).mountId, data.mountId);
    assert.equal((await holders()).length, 1);
  });

  test('whose hub died between the effect and its record is made anew', async () => {
    const { mount, fake, deps, stateOf, look, holders } = await open();
    fake.trouble.mount = new Error('killed');
    await assert.rejects(mount(), /killed/);
    const [{ mountId } = { mountId: '' }] = await holders();
    assert.equal((await stateOf(mountId)).status, 'mounting');
    delete fake.trouble.mount;
    await takeDownStrays(deps, signal);
    await look(mountId);
    assert.equal((await stateOf(mountId)).status, 'mounted');
  });

  test('that cannot be taken down keeps its slot, says why, and is tried again by who asks and a few times by the sweep', async () => {
    const { mount, unmount, sweep, fake, holders, stateOf } = await open();
    const { mountId } = await mount();
    fake.trouble.unmount = new Error('target is busy');
    await assert.rejects(unmount(mountId), { code: 'unmount-failed', message: /busy/ });
    assert.equal((await holders()).length, 1);
    await assert.rejects(mount(), { code: 'mount-busy', message: /busy/ });
    for (let round = 0; round < 5; round += 1) await sweep();
    const state = await stateOf(mountId);
    assert.ok(state.status === 'failed' && state.unmountAttempts === 3, JSON.stringify(state));
    delete fake.trouble.unmount;
    await sweep();
    assert.equal((await stateOf(mountId)).status, 'failed');
    assert.notEqual((await mount()).mountId, mountId);
    assert.equal((await stateOf(mountId)).status, 'unmounted');
  });
});

describe('the sweep of mounts', () => {
  test('ends what nobody read from, and not what is being read', async () => {
    const { mount, sweep, pass, held, holders } = await open();
    await mount();
    pass(59);
    await sweep();
    assert.equal((await holders()).length, 1);
    pass(1);
    held.isHeld = true;
    await sweep();
    held.isHeld = false;
    held.lastAccess = at(30);
    await sweep();
    assert.equal((await holders()).length, 1, 'what this hub knows and the log does not yet counts as well');
    held.lastAccess = undefined;
    await sweep();
    assert.deepEqual(await holders(), []);
  });

  test('ends what was lost', async () => {
    const { mount, sweep, fake, holders, stateOf } = await open();
    const { mountId } = await mount();
    fake.there.clear();
    await sweep();
    assert.deepEqual([await holders(), (await stateOf(mountId)).status], [[], 'unmounted']);
  });

  test('frees a slot that no mount came to', async () => {
    const { store, sweep, pass, holders } = await open();
    const data = { slot: 4, mountId: randomUUID(), backupId, diskIndex: 0, takenAt: at(10) };
    await store.append(streamOf.mountSlots(storageNode), [{ type: 'MountSlotTaken', data }], noEvents, context());
    await sweep();
    assert.equal((await holders()).length, 1, 'its mount may be on the way');
    pass(60);
    await sweep();
    assert.deepEqual(await holders(), []);
  });

  test('leaves what is recorded alone, and takes down what is not', async () => {
    const { mount, fake, deps } = await open();
    const { mountId } = await mount();
    fake.there.set('stray', { mountPath: '/mnt/r/stray', runtimeFolder: '/run/stray', slot: null });
    await takeDownStrays(deps, signal);
    assert.deepEqual([...fake.there.keys()], [mountId]);
  });
});
