import type { DatabaseSync } from 'node:sqlite';
import { headerSum, recordSum, rowSum } from './checksums.ts';
import { StoreDamaged } from './damage.ts';

const schemaVersion = 2;

/**
 * `streams.first`: everything before it is gone for good. `log`: one row, the last position ever given away. `gaps`: positions
 * that were scavenged, so that a missing event is known from a removed one. `record` comes last: SQLite does not read the
 * pages of a column that nobody asked for, nor of those after it.
 */
const tables = [
  `create table streams (
    id integer primary key,
    name text not null unique,
    first integer not null,
    last integer not null,
    tombstoned integer not null,
    sum integer not null
  ) strict`,
  `create table events (
    position integer primary key,
    stream integer not null,
    revision integer not null,
    created_ms integer not null,
    type text not null,
    header_sum integer not null,
    record_sum integer not null,
    record blob not null,
    unique (stream, revision)
  ) strict`,
  `create table gaps (
    first integer primary key,
    last integer not null,
    sum integer not null
  ) strict`,
  `create table log (
    id integer primary key,
    last_position integer not null,
    streams integer not null,
    scavenged_at_ms integer not null,
    sum integer not null
  ) strict`,
] as const;

export type LogEnd = Readonly<{ lastPosition: number; streams: number; scavengedAtMs: number }>;

export const logSum = ({ lastPosition, streams, scavengedAtMs }: LogEnd): number =>
  rowSum(lastPosition, streams, scavengedAtMs);

const create = (database: DatabaseSync, end: LogEnd): void => {
  for (const table of tables) database.exec(table);
  database
    .prepare('insert into log values (1, ?, ?, ?, ?)')
    .run(end.lastPosition, end.streams, end.scavengedAtMs, logSum(end));
  database.exec(`pragma user_version = ${schemaVersion}`);
};

const number = (value: unknown): number => Number(value);

const copyStreams = (database: DatabaseSync): void => {
  const insert = database.prepare('insert into streams values (?, ?, 0, ?, ?, ?)');
  for (const row of database.prepare('select id, name, last, tombstoned from old_streams').iterate()) {
    const [id, last, tombstoned] = [number(row.id), number(row.last), number(row.tombstoned)];
    const name = String(row.name);
    insert.run(id, name, last, tombstoned, rowSum(id, name, 0, last, tombstoned));
  }
};

const copyEvents = (database: DatabaseSync): void => {
  const insert = database.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?, ?)');
  for (const row of database.prepare('select * from old_events order by position').iterate()) {
    const { position, stream, revision, created_ms: createdMs, type, record } = row;
    if (!(record instanceof Uint8Array)) throw new Error(`The event at position ${position} has no record.`);
    const header = {
      position: number(position),
      streamId: number(stream),
      revision: number(revision),
      createdMs: number(createdMs),
      type: String(type),
    };
    const sum = headerSum(header);
    const { streamId, ...rest } = header;
    insert.run(rest.position, streamId, rest.revision, rest.createdMs, rest.type, sum, recordSum(record, sum), record);
  }
};

/** Version 1 never left a position out on purpose, but what is not there cannot be missed any more. */
const copyGaps = (database: DatabaseSync, lastPosition: number): void => {
  const insert = database.prepare('insert into gaps values (?, ?, ?)');
  let next = 1;
  for (const row of database.prepare('select position from old_events order by position').iterate()) {
    const position = number(row.position);
    if (position > next) insert.run(next, position - 1, rowSum(next, position - 1));
    next = position + 1;
  }
  if (next <= lastPosition) insert.run(next, lastPosition, rowSum(next, lastPosition));
};

/** Version 1 had no checksums. One transaction: a start that is cut off begins again. */
const convertFromVersion1 = (database: DatabaseSync): void => {
  database.exec('alter table streams rename to old_streams; alter table events rename to old_events');
  const end = database
    .prepare(
      'select (select coalesce(max(position), 0) from old_events) last, (select count(*) from old_streams) streams',
    )
    .get();
  create(database, { lastPosition: number(end?.last), streams: number(end?.streams), scavengedAtMs: 0 });
  copyStreams(database);
  copyEvents(database);
  copyGaps(database, number(end?.last));
  database.exec('drop table old_events; drop table old_streams');
};

const versionOf = (database: DatabaseSync): number =>
  number(database.prepare('pragma user_version').get()?.user_version);

const isEmpty = (database: DatabaseSync): boolean =>
  database.prepare('select count(*) as tables from sqlite_schema').get()?.tables === 0;

/** A flipped bit in the schema would read columns as what they are not. */
const checkTables = (database: DatabaseSync, path: string): void => {
  const found = database.prepare("select sql from sqlite_schema where type = 'table' order by name").all();
  const expected = [tables[1], tables[2], tables[3], tables[0]].map((sql) =>
    sql.replace('create table', 'CREATE TABLE'),
  );
  const same = found.length === expected.length && found.every(({ sql }, index) => sql === expected[index]);
  if (!same) throw new StoreDamaged(path, 'its tables are not those of an event store', { structural: true });
};

const migrate = (database: DatabaseSync, found: number): void => {
  database.exec('begin immediate');
  if (found === 0) create(database, { lastPosition: 0, streams: 0, scavengedAtMs: 0 });
  else convertFromVersion1(database);
  database.exec('commit');
};

/** Writes nothing if there is nothing to do: also a store on a full disk must start, to be read. */
export const prepareSchema = (database: DatabaseSync, path: string): void => {
  const found = versionOf(database);
  if (found > schemaVersion) {
    throw new Error(`${path} was written by a newer Sendense (schema ${found}; this one knows ${schemaVersion}).`);
  }
  if (found < 0 || (found === 0 && !isEmpty(database))) {
    throw new StoreDamaged(path, `it says to be of version ${found}`, { structural: true });
  }
  if (found === 0) database.exec('pragma auto_vacuum = incremental; vacuum');
  if (found < schemaVersion) migrate(database, found);
  checkTables(database, path);
};
