import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { handle, load } from '#commands/handle.ts';
import { type EventStore, noEvents, RevisionConflict } from '#commands/ports.ts';
import { claimDecider } from '#domain/claim/claim.ts';
import { nbdPortsDecider } from '#domain/nbd-ports/nbd-ports.ts';
import { restorePointsDecider } from '#domain/restore-points/decide.ts';
import type { RestorePointsEvent } from '#domain/restore-points/events.ts';
import { at, restorePoint, vmContextId } from '../support/backup-facts.ts';
import { context } from '../support/backup-world.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';

const target = { decider: claimDecider, stream: 'claim-vmName-x' };
const claim = (holder: string) => ({ type: 'ClaimName', data: { key: 'x', holder, at: at() } }) as const;

describe('handling a command', () => {
  test('appends what was decided and tells where it is', async () => {
    const store = createFakeEventStore();
    const handled = await handle(store, target, claim('a'), context());
    assert.deepEqual(
      handled.events.map(({ type }) => type),
      ['NameClaimed'],
    );
    assert.deepEqual([handled.state.holder, handled.first, handled.position], ['a', true, store.log[0]?.position]);
  });

  test('appends nothing when the facts hold already', async () => {
    const store = createFakeEventStore();
    await handle(store, target, claim('a'), context());
    const handled = await handle(store, target, claim('a'), context());
    assert.deepEqual([handled.events, handled.position, handled.first, store.log.length], [[], undefined, false, 1]);
  });

  test('decides again on the newer state when somebody else was faster', async () => {
    const store = createFakeEventStore();
    let raced = false;
    const racing: EventStore = {
      ...store,
      append: async (...args) => {
        if (!raced) {
          raced = true;
          await handle(store, target, claim('b'), context());
        }
        return store.append(...args);
      },
    };
    await assert.rejects(handle(racing, target, claim('a'), context()), { code: 'name-taken' });
    assert.equal((await load(store, claimDecider, target.stream)).state.holder, 'b');
  });

  test('gives up after many lost races: then something else is wrong', async () => {
    let attempts = 0;
    const store: EventStore = {
      ...createFakeEventStore(),
      append: async (stream) => {
        attempts += 1;
        throw new RevisionConflict(stream);
      },
    };
    await assert.rejects(handle(store, target, claim('a'), context()), RevisionConflict);
    assert.equal(attempts, 10);
  });

  test('does not repeat an append that failed for another reason', async () => {
    let attempts = 0;
    const store: EventStore = {
      ...createFakeEventStore(),
      append: async () => {
        attempts += 1;
        throw new Error('disk full');
      },
    };
    await assert.rejects(handle(store, target, claim('a'), context()), /disk full/);
    assert.equal(attempts, 1);
  });

  test('loses nothing when many commands come at once', async () => {
    const store = createFakeEventStore();
    const ports = { decider: nbdPortsDecider, stream: 'nbdPorts-hub-1' };
    const allocate = (job: number) =>
      handle(
        store,
        ports,
        {
          type: 'AllocatePorts',
          data: {
            ...{ jobId: `job-${job}`, exportNames: ['a', 'b'], first: 10100, last: 10200, occupied: [] },
            ...{ at: at(), expiresAt: at(1) },
          },
        },
        context(),
      );
    await Promise.all([0, 1, 2, 3, 4].map(allocate));
    const { leases } = (await load(store, ports.decider, ports.stream)).state;
    assert.equal(new Set(leases.map(({ port }) => port)).size, 10);
  });
});

describe('streams without an end', () => {
  const decider = restorePointsDecider(vmContextId);
  const stream = 'restorePoints-x';
  const added = (n: number): RestorePointsEvent => ({
    type: 'RestorePointAdded',
    data: { vmContextId, point: restorePoint({ backupId: `backup-${n}` }) },
  });

  test('are read back to their newest whole state only, however long they are', async () => {
    const store = createFakeEventStore();
    for (let n = 0; n < 1000; n += 1) {
      const command = {
        type: 'AddRestorePoint',
        data: (added(n) as Extract<RestorePointsEvent, { type: 'RestorePointAdded' }>).data,
      } as const;
      await handle(store, { decider, stream }, command, context());
    }
    const types = store.typesIn(stream);
    const carried = types.filter((type) => type === 'RestorePointsCarriedForward').length;
    assert.ok(carried >= 9 && carried <= 11, `${carried} times`);

    const before = store.readCount();
    const { state, revision, depth } = await load(store, decider, stream);
    assert.equal(store.readCount() - before, types.length - types.lastIndexOf('RestorePointsCarriedForward'));
    assert.ok(depth <= 100);
    assert.deepEqual(
      state.points.map(({ backupId }) => backupId),
      Array.from({ length: 1000 }, (_, n) => `backup-${n}`),
    );
    assert.equal(revision, BigInt(types.length) - 1n);
  });

  test('carry the state forward with the events that lead to it, in one append', async () => {
    const store = createFakeEventStore();
    const ninetyNine = Array.from({ length: 99 }, (_, n) => added(n));
    await store.append(stream, ninetyNine, noEvents, context());
    const command = {
      type: 'AddRestorePoint',
      data: { vmContextId, point: restorePoint({ backupId: 'backup-99' }) },
    } as const;
    const handled = await handle(store, { decider, stream }, command, context());
    assert.deepEqual(
      handled.events.map(({ type }) => type),
      ['RestorePointAdded'],
    );
    const [last, carried] = store.log.slice(-2).map(({ event }) => event.type);
    assert.deepEqual([last, carried], ['RestorePointAdded', 'RestorePointsCarriedForward']);
    assert.equal(handled.position, store.log.at(-1)?.position);
  });
});
