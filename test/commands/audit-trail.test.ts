import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { createAuditLog } from '#commands/audit-log.ts';
import { createAuditTrail } from '#commands/audit-trail.ts';
import { type EventStore, StoreUnavailable } from '#commands/ports.ts';
import { createVerifyAudit } from '#commands/verify-audit.ts';
import type { AuditEntry } from '#domain/audit/entry.ts';
import type { AuditEvent } from '#domain/audit/events.ts';
import { numbered, sha256 } from '../support/audit-facts.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';

const never = new AbortController().signal;
const ids = { uuid: randomUUID };

const clockAt = (start: string) => {
  let now = start;
  return {
    now: () => now,
    set: (to: string) => {
      now = to;
    },
  };
};

const logOn = (store: EventStore, clock = clockAt('2026-11-22T10:00:00.000Z')) =>
  createAuditLog({ store, clock, ids, digest: sha256 });

const verify = (store: EventStore) => createVerifyAudit({ store, digest: sha256 })([], never);

const entriesIn = (store: ReturnType<typeof createFakeEventStore>): readonly (readonly AuditEntry[])[] =>
  store.log.flatMap(({ event }) => {
    const audit = event as AuditEvent;
    return audit.type === 'AuditBatchRecorded' ? [audit.data.entries] : [];
  });

/** A store whose appends wait until they are let through. */
const held = (real: EventStore) => {
  let gate = Promise.withResolvers<void>();
  let waiting = Promise.withResolvers<void>();
  return {
    store: {
      ...real,
      append: async (...request: Parameters<EventStore['append']>) => {
        waiting.resolve();
        await gate.promise;
        return real.append(...request);
      },
    } satisfies EventStore,
    reached: () => waiting.promise,
    release: () => {
      const open = gate;
      gate = Promise.withResolvers();
      waiting = Promise.withResolvers();
      gate.resolve();
      open.resolve();
    },
  };
};

const trailOn = (store: EventStore, over: Partial<Parameters<typeof createAuditTrail>[0]> = {}) => {
  const problems: { what: string; entries: readonly AuditEntry[] }[] = [];
  const trail = createAuditTrail({ log: logOn(store), onProblem: (problem) => problems.push(problem), ...over });
  return { trail, problems };
};

describe('the audit trail', () => {
  test('returns once the entry is in the log', async () => {
    const store = createFakeEventStore();
    const { trail } = trailOn(store);
    await trail.record(numbered(1));
    assert.deepEqual(
      entriesIn(store)
        .flat()
        .map(({ requestId }) => requestId),
      ['req-1'],
    );
    assert.deepEqual(trail.status(), { waiting: 0, problem: null });
  });

  test('gathers what comes while a batch is being written into the next one', async () => {
    const real = createFakeEventStore();
    const gate = held(real);
    const { trail } = trailOn(gate.store);
    const first = trail.record(numbered(1));
    await gate.reached();
    const others = [2, 3, 4].map((n) => trail.record(numbered(n)));
    gate.release();
    await Promise.all([first, ...others]);
    assert.deepEqual(
      entriesIn(real).map((batch) => batch.length),
      [1, 3],
    );
    assert.deepEqual(await verify(real).then(({ ok, entries, batches }) => [ok, entries, batches]), [true, 4, 2]);
  });

  test('lets a command go after a bounded time, says so, and writes the entry when the store is back', async () => {
    const real = createFakeEventStore();
    const gate = held(real);
    const { trail, problems } = trailOn(gate.store, { patienceMs: 5 });
    await trail.record(numbered(1));
    assert.equal(trail.status().waiting, 1);
    assert.notEqual(trail.status().problem, null);
    assert.deepEqual(
      problems.map(({ what }) => what),
      ['the audit trail is behind'],
    );
    gate.release();
    await trail.close();
    assert.equal(entriesIn(real).flat().length, 1);
    assert.deepEqual(trail.status(), { waiting: 0, problem: null });
  });

  test('writes an entry once when the answer to the append was lost', async () => {
    const real = createFakeEventStore();
    let lost = false;
    const store: EventStore = {
      ...real,
      append: async (...request) => {
        const appended = await real.append(...request);
        if (lost || !request[0].startsWith('audit-')) return appended;
        lost = true;
        throw new StoreUnavailable('no answer');
      },
    };
    const { trail } = trailOn(store, { retryMs: 1 });
    await trail.record(numbered(1));
    assert.ok(lost);
    await trail.record(numbered(2));
    assert.deepEqual(
      entriesIn(real)
        .flat()
        .map(({ requestId }) => requestId),
      ['req-1', 'req-2'],
    );
  });

  test('gives entries up to the log of the program, whole, when there is no place left', async () => {
    const gate = held(createFakeEventStore());
    const { trail, problems } = trailOn(gate.store, { patienceMs: 1, maxWaiting: 1 });
    await trail.record(numbered(1));
    await trail.record(numbered(2));
    assert.deepEqual(
      problems.at(-1)?.entries.map(({ requestId }) => requestId),
      ['req-2'],
    );
    gate.release();
    await trail.close();
  });
});

describe('the chain of several hubs', () => {
  test('has one end, however they race', async () => {
    const store = createFakeEventStore();
    const hubs = [logOn(store), logOn(store), logOn(store)];
    const appends = Array.from({ length: 30 }, (_, n) => hubs[n % 3]?.append([numbered(n)]));
    await Promise.all(appends);
    const { ok, entries, difference } = await verify(store);
    assert.deepEqual([ok, entries, difference], [true, 30, null]);
  });

  test('goes over midnight: the day is closed, the next begins on its hash, and a late clock writes into the newest day', async () => {
    const store = createFakeEventStore();
    const [early, late] = [clockAt('2026-11-22T23:59:59.000Z'), clockAt('2026-11-22T23:59:59.000Z')];
    const [one, other] = [logOn(store, early), logOn(store, late)];
    await one.append([numbered(1)]);
    await other.append([numbered(2)]);
    early.set('2026-11-23T00:00:01.000Z');
    await one.append([numbered(3)]);
    await other.append([numbered(4)]);
    assert.deepEqual(store.typesIn('audit-2026-11-22'), ['AuditBatchRecorded', 'AuditBatchRecorded', 'AuditDayClosed']);
    assert.deepEqual(store.typesIn('audit-2026-11-23'), ['AuditBatchRecorded', 'AuditBatchRecorded']);
    early.set('2026-12-01T00:00:01.000Z');
    await one.append([numbered(5)]);
    const { ok, days, entries } = await verify(store);
    assert.deepEqual([ok, days, entries], [true, 3, 5]);
  });

  for (const type of ['AuditDayClosed', 'AuditDayBegun', 'AuditBatchRecorded']) {
    test(`goes on where a hub died before ${type} of a new day`, async () => {
      const store = createFakeEventStore();
      const clock = clockAt('2026-11-22T12:00:00.000Z');
      await logOn(store, clock).append([numbered(1)]);
      clock.set('2026-11-23T12:00:00.000Z');
      const dying: EventStore = {
        ...store,
        append: async (stream, events, expected, context) => {
          if (events.some((event) => event.type === type)) throw new Error('died');
          return store.append(stream, events, expected, context);
        },
      };
      await assert.rejects(logOn(dying, clock).append([numbered(2)]), /died/);
      await logOn(store, clock).append([numbered(3)]);
      const { ok, days, entries } = await verify(store);
      assert.deepEqual([ok, days, entries], [true, 2, 2]);
    });
  }

  test('tells where it stands, also on a day without entries yet', async () => {
    const store = createFakeEventStore();
    assert.equal(await logOn(store).anchor(), undefined);
    await logOn(store).append([numbered(1), numbered(2)]);
    const anchor = await logOn(store).anchor();
    assert.deepEqual([anchor?.stream, anchor?.revision, anchor?.count], ['audit-2026-11-22', '0', 2]);
    const clock = clockAt('2026-11-23T12:00:00.000Z');
    const dying: EventStore = {
      ...store,
      append: async (...request) => {
        if (request[0] === 'audit-2026-11-23') throw new Error('died');
        return store.append(...request);
      },
    };
    await assert.rejects(logOn(dying, clock).append([numbered(3)]));
    assert.equal((await logOn(store, clock).anchor())?.hash, anchor?.hash);
  });
});
