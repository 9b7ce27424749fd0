import type { RecordedEvent } from '#domain/recorded-event.ts';

/** The log as it grows, in order, in batches; ends only with an error or the signal. Unknown event types are left out. */
export interface EventSource {
  /** Strictly after `from`; 0n is the beginning. */
  subscribe(from: bigint, options: Readonly<{ maxBatch?: number }>, signal: AbortSignal): AsyncIterable<SourceItem>;
}

/** `position` is that of the last event seen, whether it was left out or not. */
export type SourceItem =
  | Readonly<{ kind: 'events'; events: readonly RecordedEvent[]; position: bigint }>
  | Readonly<{ kind: 'caught-up'; position: bigint }>;
