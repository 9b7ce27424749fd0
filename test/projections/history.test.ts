import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { sql } from 'kysely';
import type { BackupEvent } from '#domain/backup/events.ts';
import type { DomainEvent } from '#domain/decider.ts';
import type { EventMetadata, RecordedEvent } from '#domain/recorded-event.ts';
import type { Database } from '#infra/postgres/database.ts';
import { openMomentTables } from '#infra/postgres/moment-tables.ts';
import { type EventIndexQueries, eventIndexProjection, eventIndexQueries } from '#projections/event-index.ts';
import { historyIndexProjection, historyIndexQueries } from '#projections/history-index.ts';
import { anyProjection } from '#projections/projection.ts';
import { merged, tablesOf } from '#projections/replay.ts';
import { eventVersions } from '../../src/composition/event-registry.ts';
import {
  backupDisk,
  backupId,
  backupStarted,
  facts,
  histories,
  progress,
  vmContextId,
} from '../support/backup-facts.ts';
import { eventually } from '../support/eventually.ts';
import { eachWithDatabase } from '../support/postgres.ts';
import { applyTo, createTeller, logOf } from '../support/projected.ts';

let database: Database;

eachWithDatabase((fresh) => {
  database = fresh;
});

const eventIndex = anyProjection(eventIndexProjection(Object.keys(eventVersions)));
const historyIndex = anyProjection(historyIndexProjection);

type Caused = Readonly<{ by?: string; second?: number }>;

/** Every event with its cause and its second. */
const log = (events: readonly (readonly [DomainEvent, Caused])[]): readonly RecordedEvent[] =>
  logOf(events.map(([event]) => event)).map((recorded, index) => {
    const { by, second = index } = events[index]?.[1] ?? {};
    const metadata: EventMetadata = { by: 'user:admin', v: 1, ...(by === undefined ? {} : { $causationId: by }) };
    return { ...recorded, metadata, recordedAt: new Date(Date.UTC(2026, 10, 22, 2, 16, second)).toISOString() };
  });

describe('the index of events', () => {
  let index: EventIndexQueries;
  beforeEach(async () => {
    index = eventIndexQueries(database.readModel);
    const events = log([
      [backupStarted(), { by: 'request-1' }],
      [facts.portsAssigned(10100, 10101), { by: 'event-0' }],
      [progress(), { by: 'event-0' }],
      [facts.imageCreated(0), { by: 'event-0', second: 5 }],
      [facts.imageCreated(1), { by: 'event-1', second: 5 }],
    ]);
    await applyTo(database.readModel, [eventIndex], { events, position: 5n });
  });

  test('tells where an event is and what caused it', async () => {
    const found = await index.find('event-1');
    assert.deepEqual(found, {
      ...{ event_id: 'event-1', position: '2', stream: `backup-${backupId}`, revision: 1, type: 'ExportPortsAssigned' },
      ...{ recorded_at: '2026-11-22T02:16:01.000Z', actor: 'user:admin', correlation_id: null },
      causation_id: 'event-0',
    });
    assert.equal(await index.find('event-9'), undefined);
  });

  test('tells what events and requests led to, page by page, and leaves reports out', async () => {
    const ids = async (causes: readonly string[], position = 0n, limit = 9) =>
      (await index.causedBy(causes, position, limit)).map((event) => event.event_id);
    assert.deepEqual(await ids(['request-1']), ['event-0']);
    assert.deepEqual(await ids(['event-0', 'event-1']), ['event-1', 'event-3', 'event-4']);
    assert.deepEqual(await ids(['event-0', 'event-1'], 2n, 1), ['event-3']);
    assert.deepEqual([...(await index.countCausedBy(['event-0', 'event-1', 'event-9'], 0n))].toSorted(), [
      ['event-0', 2],
      ['event-1', 1],
    ]);
    assert.deepEqual([...(await index.countCausedBy(['event-0'], 2n))], [['event-0', 1]]);
  });

  test('finds the last event of a time, of several at once the latest, and of a position', async () => {
    const at = async (time: string) => (await index.lastAt(time))?.position;
    assert.equal(await at('2026-11-22T02:16:05.000Z'), '5');
    assert.equal(await at('2026-11-22T02:16:04.999Z'), '2');
    assert.equal(await at('2026-11-22T02:15:59.999Z'), undefined);
    assert.equal((await index.lastBefore(3n))?.position, '2');
    assert.equal(await index.lastBefore(0n), undefined);
  });
});

describe('the index of what the past has to be read from', () => {
  const second: BackupEvent = backupStarted({ backupId: 'b-2', backupContextId: 'c-2', disks: [backupDisk(0)] });

  test('knows each backup, deleted ones too, where its disks’ numbers begin, and when its telemetry went', async () => {
    const tell = createTeller(database.readModel, historyIndex);
    await tell(...histories.completed, second, facts.changeId(0), facts.closed(), facts.removed());
    const history = historyIndexQueries(database.readModel);
    const closedAt = BigInt(histories.completed.length);
    const jobs = await history.jobsOf([vmContextId], 1_000n);
    assert.deepEqual(
      jobs.map((job) => [job.backup_id, job.first_disk, job.next_disk, job.closed_position]),
      [
        [backupId, 1, 3, closedAt.toString()],
        ['b-2', 3, 4, null],
      ],
    );
    const openAt = async (position: bigint) => (await history.openAt(position)).map((job) => job.backup_id);
    assert.deepEqual(await openAt(closedAt - 1n), [backupId]);
    assert.deepEqual(await openAt(closedAt), []);
    assert.deepEqual(await openAt(closedAt + 1n), ['b-2']);
    assert.equal(await history.job('b-2', closedAt), undefined);
    assert.deepEqual(await history.jobsOf([], 1_000n), []);
  });
});

describe('tables of a moment', () => {
  test('have the names of the live ones, leave those alone and end with their connection', async () => {
    const { connectionString, host, port, user, password, database: name } = database.pool.options;
    const settings = Object.fromEntries(
      Object.entries({ connectionString, host, port, user, password, database: name }).filter(([, value]) => value),
    );
    await applyTo(database.readModel, [historyIndex], { events: logOf([backupStarted()]), position: 1n });
    const tables = await openMomentTables(settings, tablesOf([historyIndex]));
    const live = historyIndexQueries(database.readModel);
    const past = historyIndexQueries(tables.db);
    assert.deepEqual(await past.jobsOf([vmContextId], 10n), []);
    await tables.write(["insert into history_vms values ('ctx', 1)", "insert into history_vms values ('ctx-2', 2)"]);
    await tables.analyse(['history_vms']);
    await assert.rejects(tables.write(["insert into history_vms values ('ctx-3', 3)", 'select 1 / 0']));
    assert.deepEqual(await past.vmsAt(10n), ['ctx', 'ctx-2']);
    assert.deepEqual(await live.vmsAt(10n), []);
    assert.equal((await live.jobsOf([vmContextId], 10n)).length, 1);
    assert.equal(tables.isLost(), false);
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tables.db);
    await database.pool.query('select pg_terminate_backend($1)', [rows[0]?.pid]);
    await eventually('the loss is seen', () => tables.isLost());
    await tables.close();
  });
});

describe('events of several sources', () => {
  async function* some(positions: readonly bigint[], ended: string[], name: string) {
    try {
      for (const position of positions) yield { ...logOf([facts.closed()])[0], position } as RecordedEvent;
    } finally {
      ended.push(name);
    }
  }

  test('come in log order, and none is left open when the reader stops', async () => {
    const ended: string[] = [];
    const found: bigint[] = [];
    const sources = [some([1n, 5n, 9n], ended, 'a'), some([2n, 3n, 7n], ended, 'b'), some([], ended, 'c')];
    for await (const { position } of merged(sources)) {
      found.push(position);
      if (position === 7n) break;
    }
    assert.deepEqual(found, [1n, 2n, 3n, 5n, 7n]);
    assert.deepEqual(ended.toSorted(), ['a', 'b', 'c']);
  });
});
