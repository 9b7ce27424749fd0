import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent, UnreadableRecord } from '#domain/recorded-event.ts';

/** Who does something and what it belongs to; written into the metadata of every event. */
export type CommandContext = Readonly<{
  /** `user:admin`, `node:127.0.0.1`, `process:backup-runner`, `schedule:<id>` or `system`. */
  actor: string;
  /** All events of one business operation share it (a backup's is its job id). */
  correlationId: string;
  /** The id of the event or request that led to this command. */
  causationId?: string;
  /** Event ids are derived from it: the same command sent twice appends once. */
  commandId: string;
  /** Told of every append that was made for this command. */
  onAppended?: (appended: Appended) => void;
}>;

/** Revision and position are those of the last event. */
export type Appended = Readonly<{
  stream: string;
  types: readonly string[];
  ids: readonly string[];
  revision: StreamRevision;
  position: bigint;
}>;

/** The revision of a stream's last event; -1n when there is none, so that `revision + 1n` is always the next. */
export type StreamRevision = bigint;
export const noEvents: StreamRevision = -1n;

export type AppendResult = Readonly<{ revision: StreamRevision; position: bigint }>;

/**
 * The log. `append` may be repeated with the same context and expected revision: the store recognises the event ids.
 * Throws `RevisionConflict` when the stream moved on, `StoreUnavailable` when the outcome is unknown after its own retries.
 */
export interface EventStore {
  /** The whole stream, oldest first; meant for streams with an end. */
  read<E extends DomainEvent>(stream: string, signal?: AbortSignal): Promise<LoadedStream<E>>;
  /** Newest first, page by page; stop iterating to stop reading. Nothing for a stream that does not exist. */
  readBackwards<E extends DomainEvent>(stream: string, signal?: AbortSignal): AsyncIterable<RecordedEvent<E>>;
  /** Oldest first from a revision, page by page. */
  readForwards<E extends DomainEvent>(
    stream: string,
    fromRevision: bigint,
    signal?: AbortSignal,
  ): AsyncIterable<RecordedEvent<E>>;
  append(
    stream: string,
    events: readonly DomainEvent[],
    expected: StreamRevision,
    context: CommandContext,
  ): Promise<AppendResult>;
  /** Bounds a stream: events beyond `maxCount`, older, or before `truncateBefore`, are no longer read. Repeatable. */
  bound(stream: string, bounds: StreamBounds): Promise<void>;
  /** For who watches a store: runs `work`, once, which is the whole of a command on one stream, its repeats included. */
  command?<T extends Readonly<{ events: readonly unknown[] }>>(facts: CommandFacts, work: () => Promise<T>): Promise<T>;
}

export type CommandFacts = Readonly<{ name: string; stream: string; context: CommandContext }>;

export type LoadedStream<E extends DomainEvent> = Readonly<{
  events: readonly RecordedEvent<E>[];
  revision: StreamRevision;
}>;

export type StreamBounds = Readonly<{ maxCount?: number; maxAgeSeconds?: number; truncateBefore?: bigint }>;

/** Somebody else appended first; decide again on the newer state. */
export class RevisionConflict extends Error {
  constructor(stream: string, options?: ErrorOptions) {
    super(`stream ${stream} moved on`, options);
    this.name = 'RevisionConflict';
  }
}

/** The store did not answer; whether an append happened is unknown until it is repeated with the same ids. */
export class StoreUnavailable extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreUnavailable';
  }
}

/** Time and ids enter the domain only through these. */
export interface Clock {
  /** ISO 8601 UTC with milliseconds. */
  now(): string;
}

export interface Ids {
  /** A random UUID v4. */
  uuid(): string;
}

/**
 * The log as it grows. Yields what is available, at most `maxBatch` events at once, in log order, and `caught-up`
 * each time the end was reached; ends only with an error or the signal. Unknown event types are left out.
 */
export interface EventFeed {
  subscribe(
    from: FeedStart,
    options: Readonly<{ streamPrefixes?: readonly string[]; maxBatch?: number }>,
    signal: AbortSignal,
  ): AsyncIterable<FeedItem>;
  /** The position of the newest event; 0n for an empty log. */
  head(signal?: AbortSignal): Promise<bigint>;
}

/** Strictly after that position; 0n is the beginning. */
export type FeedStart = bigint | 'end';

export type FeedItem =
  /** `position` is that of the last event seen, whether it was left out or not. */
  | Readonly<{
      kind: 'events';
      events: readonly RecordedEvent[];
      position: bigint;
      /** Of this batch, for those who must not pass over them; left out when there are none. */
      unreadable?: readonly UnreadableRecord[];
    }>
  /** Nothing of interest lies before this position. */
  | Readonly<{ kind: 'caught-up'; position: bigint }>;
