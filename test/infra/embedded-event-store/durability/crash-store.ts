import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type EventStoreDBClient, jsonEvent, NO_STREAM, START } from '@eventstore/db-client';
import { createEventStoreMaintenance } from '#infra/event-store-maintenance.ts';
import {
  appended,
  checkLog,
  deleted,
  newStream,
  observed,
  type StreamState,
  tombstoned,
  truncated,
} from './stream-model.ts';

type Stream = { name: string; state: StreamState /** After the change that is under way. */; next?: StreamState };

const writers = 4;
// Large enough for overflow pages now and then.
const paddings = ['', 'x'.repeat(300), 'x'.repeat(9000)];

const pick = <T>(choices: readonly T[]): T => choices[Math.floor(Math.random() * choices.length)] as T;

/** One store over many kills: what its clients were told, and whether it is still true. */
export class CrashStore {
  readonly #streams: Stream[] = [];
  /** Of every event ever seen: no position is used twice. */
  readonly #idAt = new Map<bigint, string>();
  acknowledged = 0;
  scavenged = 0;

  /** Writes until the store is gone. */
  async writeUntilGone(client: EventStoreDBClient): Promise<void> {
    const untilGone = async (work: () => Promise<void>) => {
      for (;;) await work();
    };
    const scavenge = async () => {
      for await (const { eventsRemoved, done } of createEventStoreMaintenance(client).scavenge()) {
        if (done) this.scavenged += eventsRemoved;
      }
    };
    const work = Array.from({ length: writers }, () => untilGone(() => this.#useStream(client)));
    const ends = await Promise.allSettled([...work, untilGone(scavenge)]);
    for (const end of ends) if (end.status === 'rejected') this.#expectGone(end.reason);
  }

  async check(client: EventStoreDBClient): Promise<void> {
    const inLog = await this.#readLog(client);
    for (const stream of this.#streams) {
      const { name, state, next } = stream;
      stream.state = await observed(client, name, next ? [state, next] : [state]);
      delete stream.next;
      checkLog(name, stream.state, inLog.get(name) ?? []);
    }
  }

  async #readLog(client: EventStoreDBClient): Promise<ReadonlyMap<string, readonly string[]>> {
    const byStream = new Map<string, string[]>();
    let last = -1n;
    for await (const { event } of client.readAll({ fromPosition: START })) {
      assert.ok(event);
      const position = event.position?.commit ?? -1n;
      assert.ok(position > last, `position ${position} after ${last}`);
      last = position;
      assert.equal(this.#idAt.get(position) ?? event.id, event.id, `position ${position} was given away before`);
      this.#idAt.set(position, event.id);
      if (event.streamId.startsWith('$') || event.type.startsWith('$')) continue;
      const ids = byStream.get(event.streamId) ?? [];
      byStream.set(event.streamId, ids);
      ids.push(`${event.revision}:${event.id}`);
    }
    return byStream;
  }

  async #useStream(client: EventStoreDBClient): Promise<void> {
    const stream: Stream = { name: `s-${randomUUID()}`, state: newStream };
    this.#streams.push(stream);
    for (let left = 3 + Math.floor(Math.random() * 12); left > 0; left -= 1) {
      await pick([this.#append, this.#append, this.#append, this.#append, this.#truncate]).call(this, client, stream);
    }
    await pick([this.#delete, this.#tombstone, this.#deleteAndRevive, async () => undefined]).call(
      this,
      client,
      stream,
    );
  }

  async #change(stream: Stream, next: StreamState, work: () => Promise<unknown>): Promise<void> {
    stream.next = next;
    await work();
    stream.state = next;
    delete stream.next;
    this.acknowledged += 1;
  }

  async #append(client: EventStoreDBClient, stream: Stream): Promise<void> {
    const { state, name } = stream;
    const padding = pick(paddings);
    const events = Array.from({ length: pick([1, 1, 3]) }, () => jsonEvent({ type: 'Happened', data: { padding } }));
    const next = appended(
      state,
      events.map(({ id }) => id),
    );
    const expectedRevision = state.ids.length === 0 ? NO_STREAM : BigInt(state.ids.length - 1);
    await this.#change(stream, next, async () => {
      const { position, nextExpectedRevision } = await client.appendToStream(name, events, { expectedRevision });
      assert.equal(nextExpectedRevision, BigInt(next.ids.length - 1));
      const id = next.ids.at(-1);
      assert.ok(position && id);
      assert.equal(this.#idAt.get(position.commit) ?? id, id, `position ${position.commit} was given away before`);
      this.#idAt.set(position.commit, id);
    });
  }

  async #truncate(client: EventStoreDBClient, stream: Stream): Promise<void> {
    const { state, name } = stream;
    if (state.ids.length === 0) return;
    const truncateBefore = Math.max(state.hiddenBefore, Math.floor(Math.random() * state.ids.length));
    await this.#change(stream, truncated(state, truncateBefore), () =>
      client.setStreamMetadata(name, { truncateBefore }),
    );
  }

  async #delete(client: EventStoreDBClient, stream: Stream): Promise<void> {
    if (stream.state.ids.length === 0) return;
    await this.#change(stream, deleted(stream.state), () => client.deleteStream(stream.name));
  }

  async #deleteAndRevive(client: EventStoreDBClient, stream: Stream): Promise<void> {
    await this.#delete(client, stream);
    await this.#append(client, stream);
  }

  async #tombstone(client: EventStoreDBClient, stream: Stream): Promise<void> {
    await this.#change(stream, tombstoned(stream.state), () => client.tombstoneStream(stream.name));
  }

  /** A writer may end by the kill only; anything else is a finding. */
  #expectGone(reason: unknown): void {
    const code = typeof reason === 'object' && reason !== null && 'code' in reason ? reason.code : undefined;
    const gone = code === 14 || code === 1 || (reason instanceof Error && reason.name === 'UnavailableError');
    if (!gone) throw reason;
  }
}
