import { isDeepStrictEqual } from 'node:util';
import { ANY, type EventStoreDBClient, StreamDeletedError, StreamNotFoundError } from '@eventstore/db-client';
import { defaultRetry, isTransient, withRetry } from '../event-store/retry.ts';
import { ImportRefused } from './file-set.ts';
import { gapMarker } from './gap-marker.ts';
import type { ImportLedger } from './import-ledger.ts';
import { type Append, type AppendOutcome, LogWriter, type ProposedBytes } from './log-writer.ts';
import { sizeOf, withOriginal } from './original-metadata.ts';
import { gapType, isMetastream, type StoredEvent, tombstoneType } from './stored-event.ts';
import { parseBounds, withGapHidden } from './stream-bounds.ts';

type Deps = Readonly<{
  client: EventStoreDBClient;
  ledger: ImportLedger;
  /** Whether the target held a part of the history before. */
  hadEvents: boolean;
}>;

type Group = { readonly stream: string; readonly expected: bigint; readonly events: ProposedBytes[]; bytes: number };

const maxGroupEvents = 500;
// Below the limit of servers for one append, which is 1 MiB.
const maxGroupBytes = 900_000;
// Small events weigh as objects, not by their bytes.
const window = { groups: 256, events: 2500, bytes: 2 * 1024 * 1024 };
const emptyJson = Buffer.from('{}');

/**
 * Writes events in the order of their log, in windows of appends that are in flight together. Consecutive events of a stream
 * share an append; those of a metadata stream never do, for a server adds events of its own after some of them.
 */
export class TargetWriter {
  readonly #deps: Deps;
  readonly #writer: LogWriter;
  #groups: Group[] = [];
  #bytes = 0;
  #events = 0;
  gaps = 0;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#writer = new LogWriter(deps.client);
  }

  async add(event: StoredEvent): Promise<void> {
    if (event.type === tombstoneType) return this.#tombstone(event.stream);
    const { ledger } = this.#deps;
    const { stream, revision } = event;
    for (let missing = ledger.lastOf(stream) + 1n; missing < revision; missing += 1n) {
      this.gaps += 1;
      await this.#queue(stream, missing, gapMarker({ stream, revision: missing }));
    }
    const data = isMetastream(stream) ? withGapHidden(event, (name) => ledger.firstAfterGap(name)) : event.data;
    const { id, type, contentType } = event;
    await this.#queue(stream, revision, { id, type, contentType, metadata: withOriginal(event), data });
  }

  /** Returns once everything is in the store. */
  async flush(): Promise<void> {
    const groups = this.#groups;
    [this.#groups, this.#bytes, this.#events] = [[], 0, 0];
    const sent = groups.map((group) => this.#writer.append(group).catch(unanswered));
    const outcomes = await Promise.all(sent);
    for (const [index, group] of groups.entries()) {
      const outcome = outcomes[index] ?? (await this.#repeat(group));
      if (outcome.kind !== 'written') await this.#settle(group, outcome);
    }
  }

  async close(): Promise<void> {
    await this.#writer.close();
  }

  async #queue(stream: string, revision: bigint, event: ProposedBytes): Promise<void> {
    const bytes = sizeOf(event);
    const open = this.#groups.at(-1);
    const fits =
      open?.stream === stream &&
      !isMetastream(stream) &&
      open.events.length < maxGroupEvents &&
      open.bytes + bytes <= maxGroupBytes;
    if (fits) {
      open.events.push(event);
      open.bytes += bytes;
    } else {
      if (this.#isFull()) await this.flush();
      this.#groups.push({ stream, expected: revision - 1n, events: [event], bytes });
    }
    this.#bytes += bytes;
    this.#events += 1;
    this.#deps.ledger.setLast(stream, revision);
  }

  #isFull(): boolean {
    return this.#groups.length >= window.groups || this.#events >= window.events || this.#bytes >= window.bytes;
  }

  /** Its fate was unknown; the revision that it expects makes a repetition harmless. */
  #repeat(group: Append): Promise<AppendOutcome> {
    return withRetry(() => this.#writer.append(group), defaultRetry);
  }

  /** What the store did not write because its stream has gone on already. */
  async #settle(group: Group, outcome: Exclude<AppendOutcome, { kind: 'written' }>): Promise<void> {
    const { stream, expected, events } = group;
    const last = expected + BigInt(events.length);
    // Of a stream that was deleted for good nothing is left to be compared.
    if (outcome.kind === 'deleted' && this.#deps.hadEvents) return;
    if (outcome.kind === 'conflict' && outcome.current >= last) {
      if (isMetastream(stream) && (await this.#isServersOwn(group, outcome.current))) return;
      // Events that the target removed since an earlier import.
      if (!isMetastream(stream) && this.#deps.hadEvents) return;
    }
    throw new ImportRefused(
      `The target changed while it was written to: ${stream} revision ${expected + 1n} is taken. Stop whatever else uses it, and repeat the import.`,
    );
  }

  /** Servers write metadata by themselves when a deleted stream gets events again: the file's says the same. */
  async #isServersOwn({ stream, expected, events: [event] }: Group, current: bigint): Promise<boolean> {
    if (event?.type === gapType || current > expected + 1n) return true;
    let same = false;
    for await (const { event: held } of this.#deps.client.readStream(stream, { fromRevision: current, maxCount: 1 })) {
      same = isDeepStrictEqual(held?.data, parseBounds(event?.data ?? emptyJson));
    }
    return same;
  }

  async #tombstone(stream: string): Promise<void> {
    await this.flush();
    try {
      await withRetry(() => this.#deps.client.tombstoneStream(stream, { expectedRevision: ANY }), defaultRetry);
    } catch (error) {
      if (!(error instanceof StreamDeletedError || error instanceof StreamNotFoundError)) throw error;
    }
  }
}

/** Undefined when nobody knows what became of it; throws what a repetition would not change. */
const unanswered = (error: unknown): undefined => {
  if (isTransient(error)) return undefined;
  throw error;
};
