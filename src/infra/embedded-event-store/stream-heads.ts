import type { DatabaseSync, StatementSync } from 'node:sqlite';
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

/** `id` 0 and `last` -1: no event was ever written to it. */
export type StreamHead = { readonly id: number; readonly name: string; last: number; tombstoned: boolean };

const maxCachedHeads = 20_000;

/**
 * Where each stream ends and what its metadata says: a cache of the recently used over the tables. It is changed inside
 * a transaction and forgotten when that rolls back; nothing else runs in between, the store is synchronous.
 */
export class StreamHeads {
  readonly #heads = new RecentlyUsed<StreamHead>(maxCachedHeads);
  readonly #metadata = new RecentlyUsed<StreamMetadata>(maxCachedHeads);
  readonly #selectHead: StatementSync;
  readonly #insertHead: StatementSync;
  readonly #updateHead: StatementSync;
  readonly #selectRecord: StatementSync;

  constructor(database: DatabaseSync) {
    this.#selectHead = database.prepare('select id, last, tombstoned from streams where name = ?');
    this.#insertHead = database.prepare('insert into streams (name, last) values (?, -1)');
    this.#updateHead = database.prepare('update streams set last = ?, tombstoned = ? where id = ?');
    this.#selectRecord = database.prepare('select record from events where stream = ? and revision = ?');
  }

  get(name: string): StreamHead {
    const cached = this.#heads.get(name);
    if (cached) return cached;
    const row = this.#selectHead.get(name);
    if (!row) return { id: 0, name, last: -1, tombstoned: false };
    return this.#remember({ id: Number(row.id), name, last: Number(row.last), tombstoned: row.tombstoned !== 0 });
  }

  /** Like `get`, but the stream has a row afterwards. Only inside a transaction. */
  create(name: string): StreamHead {
    const head = this.get(name);
    if (head.id > 0) return head;
    return this.#remember({ ...head, id: Number(this.#insertHead.run(name).lastInsertRowid) });
  }

  /** Only inside a transaction. */
  save(head: StreamHead): void {
    this.#updateHead.run(head.last, head.tombstoned ? 1 : 0, head.id);
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
    const { id, last } = this.get(metastreamOf(name));
    const row = last < 0 ? undefined : this.#selectRecord.get(id, last);
    return row?.record instanceof Uint8Array ? dataOf(row.record).toString('utf8') : undefined;
  }

  isSoftDeleted(name: string): boolean {
    return isSoftDeleted(this.metadata(name));
  }

  forget(): void {
    this.#heads.clear();
    this.#metadata.clear();
  }

  #remember(head: StreamHead): StreamHead {
    this.#heads.set(head.name, head);
    return head;
  }
}
