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

/** One stream from a revision to another, both included; what it no longer holds is left out. */
export type ReadStream = (
  stream: string,
  range: Readonly<{ from: bigint; to: bigint }>,
) => AsyncIterable<RecordedEvent | UnreadableRecord>;
