import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { DamageReporter } from './damage.ts';
import type { EventRows } from './event-rows.ts';
import type { LogTail } from './log-tail.ts';
import { RecentlyUsed } from './recently-used.ts';
import { dataOf } from './recorded-event.ts';
import {
  isMetastream,
  isSoftDeleted,
  metastreamMetadata,
  metastreamOf,
  noMetadata,
  originalOf,
  parseStreamMetadata,
  type StreamMetadata,
} from './stream-metadata.ts';
import type { StreamNames } from './stream-names.ts';
import { checkedStream, type StreamHead, streamColumns, streamSum } from './stream-row.ts';

type Parts = Readonly<{
  database: DatabaseSync;
  names: StreamNames;
  rows: EventRows;
  tail: LogTail;
  damage: DamageReporter;
}>;

const maxCachedHeads = 20_000;

/**
 * Where each stream begins and ends and what its metadata says: a cache of the recently used over the tables. It is
 * changed inside a transaction and forgotten when that rolls back; nothing else runs in between, the store is synchronous.
 */
export class StreamHeads {
  readonly #heads = new RecentlyUsed<StreamHead>(maxCachedHeads);
  readonly #names = new RecentlyUsed<string, number>(maxCachedHeads);
  readonly #metadata = new RecentlyUsed<StreamMetadata>(maxCachedHeads);
  readonly #known: StreamNames;
  readonly #rows: EventRows;
  readonly #tail: LogTail;
  readonly #damage: DamageReporter;
  readonly #selectByName: StatementSync;
  readonly #selectById: StatementSync;
  readonly #insertHead: StatementSync;
  readonly #updateHead: StatementSync;

  constructor({ database, names, rows, tail, damage }: Parts) {
    this.#known = names;
    this.#rows = rows;
    this.#tail = tail;
    this.#damage = damage;
    this.#selectByName = database.prepare(`select ${streamColumns} from streams where name = ?`);
    this.#selectById = database.prepare(`select ${streamColumns} from streams where id = ?`);
    this.#insertHead = database.prepare('insert into streams values (null, ?, 0, -1, 0, 0)');
    this.#updateHead = database.prepare('update streams set first = ?, last = ?, tombstoned = ?, sum = ? where id = ?');
  }

  get(name: string): StreamHead {
    const cached = this.#heads.get(name);
    if (cached) return cached;
    if (!this.#known.isKnown(name)) return { id: 0, name, first: 0, last: -1, tombstoned: false };
    const row = this.#damage.reading(`stream ${name}`, () => this.#selectByName.get(name));
    const head = row && checkedStream(row, this.#damage);
    if (head?.name !== name) throw this.#known.missing(name);
    return this.#remember(head);
  }

  /** Of an event in the log. */
  nameOf(streamId: number): string {
    const cached = this.#names.get(streamId);
    if (cached !== undefined) return cached;
    const row = this.#damage.reading(`stream number ${streamId}`, () => this.#selectById.get(streamId));
    const head = row && checkedStream(row, this.#damage);
    if (head?.id !== streamId) throw this.#damage.structure(`stream number ${streamId} is missing`);
    this.#names.set(streamId, head.name);
    return head.name;
  }

  /** Like `get`, but the stream has a row afterwards, which only `save` makes complete. Only inside a transaction. */
  create(name: string): StreamHead {
    const head = this.get(name);
    if (head.id > 0) return head;
    const id = Number(this.#insertHead.run(name).lastInsertRowid);
    this.#known.add(name);
    this.#tail.addStream();
    return this.#remember({ ...head, id });
  }

  /** Only inside a transaction. */
  save(head: StreamHead): void {
    this.#updateHead.run(head.first, head.last, head.tombstoned ? 1 : 0, streamSum(head), head.id);
    if (isMetastream(head.name)) this.#metadata.delete(originalOf(head.name));
  }

  /** A metastream shares the fate of its stream. */
  isTombstoned(name: string): boolean {
    return this.get(name).tombstoned || (isMetastream(name) && this.get(originalOf(name)).tombstoned);
  }

  hasMetadata(name: string): boolean {
    return !isMetastream(name) && this.get(metastreamOf(name)).last >= 0;
  }

  metadata(name: string): StreamMetadata {
    if (isMetastream(name)) return metastreamMetadata;
    const cached = this.#metadata.get(name);
    if (cached) return cached;
    const json = this.rawMetadata(name);
    const metadata = json === undefined ? noMetadata : parseStreamMetadata(json);
    this.#metadata.set(name, metadata);
    return metadata;
  }

  rawMetadata(name: string): string | undefined {
    const head = this.get(metastreamOf(name));
    const row = head.last < 0 ? undefined : this.#rows.at(head, head.last);
    return row && dataOf(row.record).toString('utf8');
  }

  isSoftDeleted(name: string): boolean {
    return isSoftDeleted(this.metadata(name));
  }

  committed(): void {
    this.#known.committed();
  }

  rolledBack(): void {
    this.#known.rolledBack();
    this.#heads.clear();
    this.#names.clear();
    this.#metadata.clear();
  }

  #remember(head: StreamHead): StreamHead {
    this.#heads.set(head.name, head);
    this.#names.set(head.id, head.name);
    return head;
  }
}
