import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { handle, load } from '#commands/handle.ts';
import type { EventStore } from '#commands/ports.ts';
import { diskRestoreDecider } from '#domain/disk-restore/disk-restore.ts';
import type { RestoreTarget } from '#domain/disk-restore/events.ts';
import { streamOf } from '#domain/streams.ts';
import { settle } from '#process-managers/disk-restores/perform.ts';
import { type DiskCopier, RestoreFailure } from '#process-managers/disk-restores/ports.ts';
import { createSlots } from '#process-managers/disk-restores/slots.ts';
import { at } from '../support/backup-facts.ts';
import { context, dyingBefore } from '../support/backup-world.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';

const toImage: RestoreTarget = { type: 'image', path: '/out/0.raw', format: 'raw', overwrite: false };

/** A copier that keeps its files in memory. */
const createFakeCopier = () => {
  const files = new Map<string, string>();
  const copies: string[] = [];
  let hold: Promise<void> | undefined;
  let problem: Error | undefined;
  const copier: DiskCopier = {
    copy: async (job, onProgress, signal) => {
      copies.push(job.restoreId);
      if (problem) throw problem;
      const identity = `file ${copies.length}`;
      files.set(`partial ${job.restoreId}`, identity);
      for (const percent of [0, 12.5, 99.9]) onProgress('copying', percent);
      const gone = new Promise<never>((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
      );
      await Promise.race([hold, gone]);
      return identity;
    },
    publish: async ({ restoreId, file }) => {
      if (files.get('/out/0.raw') === file) return;
      if (files.has('/out/0.raw')) throw new RestoreFailure('target', 'it came into being meanwhile');
      files.set('/out/0.raw', files.get(`partial ${restoreId}`) ?? '');
      files.delete(`partial ${restoreId}`);
    },
    discard: async ({ restoreId }) => {
      files.delete(`partial ${restoreId}`);
    },
  };
  return {
    ...{ copier, files, copies },
    holdBack: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      hold = promise;
      return resolve;
    },
    failWith: (error: Error) => {
      problem = error;
    },
  };
};

const createWorld = (slotCount = 2) => {
  const store = createFakeEventStore();
  const fake = createFakeCopier();
  const shared = { places: new Map<string, string>(), slots: createSlots(slotCount) };
  const clock = { now: () => at(1) };
  const onProblem = (error: unknown): void => assert.fail(String(error));
  const request = async (restoreId: string, target: RestoreTarget = toImage): Promise<void> => {
    const facts = { backupId: 'backup-1', vmName: 'pgtest1', diskIndex: 0, imagePath: '/r/0.qcow2', sizeBytes: 1024 };
    const data = { restoreId, ...facts, target, verify: false, at: at() };
    const stream = streamOf.diskRestore(restoreId);
    await handle(store, { decider: diskRestoreDecider, stream }, { type: 'RequestDiskRestore', data }, context());
  };
  const cancel = async (restoreId: string): Promise<void> => {
    const target = { decider: diskRestoreDecider, stream: streamOf.diskRestore(restoreId) };
    await handle(store, target, { type: 'RequestCancel', data: { restoreId, at: at() } }, context());
  };
  const look = (
    restoreId: string,
    over: Readonly<{ store?: EventStore; cancelled?: AbortSignal; stopping?: AbortSignal }> = {},
  ): Promise<void> =>
    settle(restoreId, {
      ...shared,
      deps: { store: over.store ?? store, clock, ids: { uuid: randomUUID }, copier: fake.copier, onProblem },
      cause: undefined,
      stopping: over.stopping ?? new AbortController().signal,
      cancelled: over.cancelled ?? new AbortController().signal,
    });
  const stateOf = async (restoreId: string) => {
    const { state } = await load(store, diskRestoreDecider, streamOf.diskRestore(restoreId));
    assert.ok(state.status !== 'none');
    return state;
  };
  const typesOf = (restoreId: string) =>
    store.typesIn(streamOf.diskRestore(restoreId)).map((type) => type.replace('DiskRestore', ''));
  return { ...fake, store, request, cancel, look, stateOf, typesOf };
};

describe('the process manager of disk restores', () => {
  test('copies, names and tells, with a few steps of progress', async () => {
    const world = createWorld();
    await world.request('a');
    await world.look('a');
    const expected = ['Requested', 'Started', 'Progressed', 'Progressed', 'Copied', 'Completed'];
    assert.deepEqual(world.typesOf('a'), expected);
    assert.deepEqual([...world.files.keys()], ['/out/0.raw']);
    await world.look('a');
    assert.deepEqual(world.typesOf('a'), expected, 'what has ended is left alone');
  });

  for (const lost of ['DiskRestoreStarted', 'DiskRestoreCopied', 'DiskRestoreCompleted']) {
    test(`goes on after a crash before ${lost} was recorded`, async () => {
      const world = createWorld();
      await world.request('a');
      await assert.rejects(world.look('a', { store: dyingBefore(world.store, lost) }), /died/);
      await world.look('a');
      assert.equal((await world.stateOf('a')).status, 'completed');
      assert.deepEqual([...world.files.keys()], ['/out/0.raw']);
      assert.equal(world.copies.length, lost === 'DiskRestoreCopied' ? 2 : 1);
    });
  }

  test('tells why it cannot be, and leaves nothing', async () => {
    const world = createWorld();
    await world.request('a');
    world.failWith(new RestoreFailure('target', 'no space left'));
    await world.look('a');
    const { status, failure } = await world.stateOf('a');
    assert.deepEqual([status, failure], ['failed', { kind: 'target', reason: 'no space left' }]);
    assert.equal(world.files.size, 0);
  });

  test('does not replace what came into being meanwhile', async () => {
    const world = createWorld();
    await world.request('a');
    world.files.set('/out/0.raw', 'of somebody else');
    await world.look('a');
    assert.equal((await world.stateOf('a')).status, 'failed');
    assert.deepEqual([...world.files], [['/out/0.raw', 'of somebody else']]);
  });

  test('gives up a copy that takes its hub down again and again', async () => {
    const world = createWorld();
    await world.request('a');
    for (let hub = 1; hub <= 4; hub += 1) {
      const release = world.holdBack();
      const stop = new AbortController();
      const looking = world.look('a', { stopping: stop.signal });
      while (world.copies.length < hub) await new Promise(setImmediate);
      stop.abort(new Error('the hub ends'));
      await assert.rejects(looking, /the hub ends/);
      release();
    }
    await world.look('a');
    assert.deepEqual((await world.stateOf('a')).failure?.kind, 'hub-restart');
    assert.equal(world.files.size, 0);
  });

  test('cancels a copy under way, and one that waits for its turn', async () => {
    const world = createWorld(1);
    world.holdBack();
    const cancels = [new AbortController(), new AbortController()] as const;
    await world.request('a');
    await world.request('b', { ...toImage, path: '/out/1.raw' });
    const looks = [
      world.look('a', { cancelled: cancels[0].signal }),
      world.look('b', { cancelled: cancels[1].signal }),
    ];
    while (world.copies.length < 1) await new Promise(setImmediate);
    assert.deepEqual(world.typesOf('b'), ['Requested']);
    for (const [index, id] of ['b', 'a'].entries()) {
      await world.cancel(id);
      cancels[1 - index]?.abort(new Error('cancelled'));
      await looks[1 - index];
      assert.equal((await world.stateOf(id)).status, 'cancelled');
    }
    assert.equal(world.files.size, 0);
    assert.deepEqual(world.copies, ['a']);
  });

  test('never lets two restores write to the same place', async () => {
    const world = createWorld();
    const release = world.holdBack();
    await world.request('a');
    await world.request('b');
    const first = world.look('a');
    while (world.copies.length < 1) await new Promise(setImmediate);
    await world.look('b');
    assert.match((await world.stateOf('b')).failure?.reason ?? '', /the restore a is writing/);
    release();
    await first;
    assert.equal((await world.stateOf('a')).status, 'completed');
  });
});
