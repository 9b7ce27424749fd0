import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DomainEvent } from '#domain/decider.ts';
import type { UnreadableRecord } from '#domain/recorded-event.ts';
import { createBell, gatherPatient, patientTypes } from '#projections/patient.ts';
import type { SourceItem } from '#projections/ports.ts';
import { anyProjection } from '#projections/projection.ts';
import { facts, progress } from '../support/backup-facts.ts';
import { logOf } from '../support/projected.ts';

const long = 60_000;
const soon = 5;

/** A log that grows as the test says. */
const growing = () => {
  let position = 0n;
  let ended: Error | true | undefined;
  let more = Promise.withResolvers<void>();
  const waiting: SourceItem[] = [];
  const wake = () => {
    more.resolve();
    more = Promise.withResolvers<void>();
  };
  return {
    add: (...events: readonly DomainEvent[]) => {
      const log = logOf(events, position);
      position += BigInt(events.length);
      waiting.push({ kind: 'events', events: log, position });
      wake();
    },
    item: (item: SourceItem) => {
      waiting.push(item);
      wake();
    },
    end: (how: Error | true) => {
      ended = how;
      wake();
    },
    async *items(): AsyncGenerator<SourceItem> {
      for (;;) {
        const item = waiting.shift();
        if (item) yield item;
        else if (ended === true) return;
        else if (ended) throw ended;
        else await more.promise;
      }
    },
  };
};

const start = ({ holdMs = long, maxEvents = 500 } = {}) => {
  const source = growing();
  const bell = createBell();
  const patience = { types: new Set(['ProgressReported']), holdMs, maxEvents, bell };
  const items = gatherPatient(source.items(), patience);
  const next = async () => {
    const { value, done } = await items.next();
    if (done) return 'the end';
    return value.kind === 'events' ? [...value.events.map(({ event }) => event.type), value.position] : value.kind;
  };
  return { source, bell, next };
};

const report = 'ProgressReported';

describe('patient events', () => {
  test('are handed on after a moment, together', async () => {
    const { source, next } = start({ holdMs: soon });
    source.add(progress());
    source.add(progress(), progress());
    assert.deepEqual(await next(), [report, report, report, 3n]);
  });

  test('go along at once with the first event that is not patient', async () => {
    const { source, next } = start();
    source.add(progress());
    source.add(progress(), facts.failed(), progress());
    source.add(progress());
    assert.deepEqual(await next(), [report, report, 'BackupFailed', report, 4n]);
  });

  test('do not delay others, nor what cannot be read', async () => {
    const { source, next } = start();
    source.add(facts.failed());
    assert.deepEqual(await next(), ['BackupFailed', 1n]);
    const [{ event: _, ...record } = assert.fail()] = logOf([progress()], 1n);
    const unreadable: UnreadableRecord = { ...record, type: report, problem: 'of a newer version' };
    source.item({ kind: 'events', events: [], unreadable: [unreadable], position: 2n });
    assert.deepEqual(await next(), [2n]);
  });

  test('are handed on at once when somebody waits', async () => {
    const { source, bell, next } = start();
    source.add(progress());
    const handed = next();
    bell.ring();
    assert.deepEqual(await handed, [report, 1n]);
    // Nobody waits any more: the next are held again.
    source.add(progress());
    source.add(facts.failed());
    assert.deepEqual(await next(), [report, 'BackupFailed', 3n]);
  });

  test('are not gathered without end', async () => {
    const { source, next } = start({ maxEvents: 3 });
    source.add(progress(), progress());
    source.add(progress(), progress());
    source.add(progress());
    assert.deepEqual(await next(), [report, report, report, report, 4n]);
  });

  test('come before the news that there are no more, and before the end', async () => {
    const { source, next } = start();
    source.add(progress());
    source.item({ kind: 'caught-up', position: 1n });
    assert.deepEqual([await next(), await next()], [[report, 1n], 'caught-up']);
    source.add(progress());
    source.end(true);
    assert.deepEqual([await next(), await next()], [[report, 2n], 'the end']);
  });

  test('are not lost when the log breaks off: a source that fails again and again gets on all the same', async () => {
    const { source, next } = start();
    source.add(progress());
    source.end(new Error('the store is gone'));
    assert.deepEqual(await next(), [report, 1n]);
    await assert.rejects(next(), /the store is gone/);
  });
});

test('a type is patient when every read model that has it says so', () => {
  const on = { A: () => [], B: () => [] };
  const patient = (...types: string[]) => anyProjection({ name: 'x', tables: {}, on, patient: types });
  assert.deepEqual([...patientTypes([patient('A', 'B'), patient('B')])], ['B']);
  assert.deepEqual([...patientTypes([patient('A'), anyProjection({ name: 'y', tables: {}, on: {} })])], ['A']);
});
