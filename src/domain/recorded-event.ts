import type { DomainEvent } from './decider.ts';

/** An event as the log holds it. Positions are the log's, revisions the stream's; both grow, neither is dense for ever. */
export type RecordedEvent<E extends DomainEvent = DomainEvent> = Readonly<{
  event: E;
  id: string;
  stream: string;
  revision: bigint;
  position: bigint;
  /** When the store accepted it, ISO 8601 UTC. */
  recordedAt: string;
  metadata: EventMetadata;
}>;

/** An event of a known type that this version of the program cannot read: a newer one wrote it, or it is damaged. */
export type UnreadableRecord = Readonly<{
  type: string;
  id: string;
  stream: string;
  revision: bigint;
  position: bigint;
  recordedAt: string;
  problem: string;
}>;

export type EventMetadata = Readonly<{
  $correlationId?: string;
  $causationId?: string;
  by: string;
  /** Schema version of the event's data; upcasters lift older ones. */
  v: number;
}>;
