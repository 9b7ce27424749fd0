import { createHash } from 'node:crypto';
import type { AllStreamRecordedEvent, RecordedEvent as ClientEvent } from '@eventstore/db-client';
import type { DomainEvent } from '#domain/decider.ts';
import { UnreadableEvent } from '#domain/event-versions.ts';
import type { EventMetadata, RecordedEvent, UnreadableRecord } from '#domain/recorded-event.ts';

/** In the metadata of an imported event: where and when the log that it comes from had it. */
export const exportedKey = '$exported';

export type Upcast = (type: string, version: number, data: Readonly<Record<string, unknown>>) => object;

const metadataOf = (event: ClientEvent | AllStreamRecordedEvent): EventMetadata => {
  const raw = (event.metadata ?? {}) as Partial<EventMetadata>;
  return { ...raw, by: raw.by ?? 'unknown', v: raw.v ?? 1 };
};

/** When it happened to the log that it was first in: an event that was moved here is as old as it was there. */
const recordedAtOf = ({ metadata, created }: ClientEvent | AllStreamRecordedEvent): string => {
  const original = (metadata as Readonly<Record<string, { created?: unknown } | undefined>> | undefined)?.[exportedKey];
  const atMs = typeof original?.created === 'string' ? Date.parse(original.created) : Number.NaN;
  return (Number.isNaN(atMs) ? created : new Date(atMs)).toISOString();
};

/** A stored event in the domain's newest shape. Throws `UnreadableEvent` for a type or version that is not known here. */
export const toRecorded = (event: ClientEvent | AllStreamRecordedEvent, upcast: Upcast): RecordedEvent => {
  const metadata = metadataOf(event);
  if (!event.isJson) throw new UnreadableEvent(event.type, metadata.v);
  const data = upcast(event.type, metadata.v, event.data as Readonly<Record<string, unknown>>);
  return {
    event: { type: event.type, data },
    id: event.id,
    stream: event.streamId,
    revision: event.revision,
    position: event.position?.commit ?? 0n,
    recordedAt: recordedAtOf(event),
    metadata,
  };
};

const toUnreadable = (event: ClientEvent | AllStreamRecordedEvent, error: unknown): UnreadableRecord => ({
  ...{ type: event.type, id: event.id, stream: event.streamId, revision: event.revision },
  ...{ position: event.position?.commit ?? 0n, recordedAt: recordedAtOf(event) },
  problem: error instanceof Error ? error.message : String(error),
});

export const isUnreadable = (record: RecordedEvent | UnreadableRecord): record is UnreadableRecord =>
  'problem' in record;

/** The same for a feed, which leaves out what it does not know and goes on behind what it cannot read. */
export const toKnownRecorded = (
  event: ClientEvent | AllStreamRecordedEvent,
  upcast: Upcast,
): RecordedEvent | UnreadableRecord | undefined => {
  try {
    return toRecorded(event, upcast);
  } catch (error) {
    // An upcaster that trips over the data of one event must not stop those who follow all of them.
    return error instanceof UnreadableEvent && !error.knownType ? undefined : toUnreadable(event, error);
  }
};

/**
 * A name-based UUID (version 8, SHA-256) of the command, the place and the content: the same append, repeated, gives the
 * same id, by which the store recognises the repeat; another one at the same place conflicts, as it must.
 */
export const eventIdFor = (
  commandId: string,
  { stream, revision }: Readonly<{ stream: string; revision: bigint }>,
  event: DomainEvent,
): string => {
  const hash = createHash('sha256')
    .update(`${commandId}\n${stream}\n${revision}\n${event.type}\n${JSON.stringify(event.data)}`)
    .digest();
  hash[6] = ((hash[6] as number) & 0x0f) | 0x80;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
};
