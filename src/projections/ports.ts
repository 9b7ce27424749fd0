import type { RecordedEvent, UnreadableRecord } from '#domain/recorded-event.ts';

/** The log as it grows, in order, in batches; ends only with an error or the signal. Unknown event types are left out. */
export interface EventSource {
  /** Strictly after `from`; 0n is the beginning. */
  subscribe(from: bigint, options: Readonly<{ maxBatch?: number }>, signal: AbortSignal): AsyncIterable<SourceItem>;
  /** The position of the newest event. */
  head(signal?: AbortSignal): Promise<bigint>;
}

/** `position` is that of the last event seen, whether it was left out or not. */
export type SourceItem =
  | (SourceEvents & Readonly<{ kind: 'events' }>)
  | Readonly<{ kind: 'caught-up'; position: bigint }>;

export type SourceEvents = Readonly<{
  events: readonly RecordedEvent[];
  position: bigint;
  /** Events of known types that this version cannot read. */
  unreadable?: readonly UnreadableRecord[];
}>;

/** Watches the transactions of the live read models. No call may throw but what the work throws. */
export interface BatchObserver {
  batch(events: SourceEvents, apply: () => Promise<void>): Promise<void>;
}

/** One stream from a revision to another, both included; what it no longer holds is left out. */
export type ReadStream = (
  stream: string,
  range: Readonly<{ from: bigint; to: bigint }>,
) => AsyncIterable<RecordedEvent | UnreadableRecord>;

/** An event by which a log is known again. */
export type LogMark = Readonly<{ stream: string; revision: bigint; position: bigint; id: string }>;

/**
 * `there`: at its position. `elsewhere`: its stream has it, at another position. `absent`: its stream has another event in its
 * place, or none. The stream went past it and it was removed since: nothing has its position (`removed`), or another
 * event does (`replaced`).
 */
export type MarkFound = 'there' | 'elsewhere' | 'removed' | 'replaced' | 'absent';

/** What tells one log from another. */
export interface LogIdentity {
  /** The position of the newest event; 0n for an empty log. */
  head(): Promise<bigint>;
  /** Undefined for a log without events. */
  ends(): Promise<Readonly<{ first: LogMark; newest: LogMark }> | undefined>;
  find(mark: LogMark): Promise<MarkFound>;
}
