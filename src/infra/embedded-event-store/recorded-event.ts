import { eventIdToBits } from './event-id.ts';
import { RecentlyUsed } from './recently-used.ts';
import { bigVarintField, bytesField, FieldWriter, maxHeaderBytes, message, readVarint, textField } from './wire.ts';

export type ProposedEvent = Readonly<{
  id: string;
  type: string;
  contentType: string;
  data: Uint8Array;
  customMetadata: Uint8Array;
}>;

/** `streamName` as `encodeStreamName` returns it. */
export type EventPlace = Readonly<{ streamName: Buffer; revision: number; position: number; createdMs: number }>;

/**
 * Revision of a tombstone. Clients see 2^63 - 1; inside the store, which counts in plain numbers, it is the largest safe
 * integer, so that it sorts after every other event of its stream.
 */
export const tombstoneRevision = Number.MAX_SAFE_INTEGER;

// Field numbers of event_store.client.streams.ReadResp.ReadEvent.RecordedEvent.
const field = {
  id: 1,
  stream: 2,
  revision: 3,
  prepare: 4,
  commit: 5,
  metadata: 6,
  customMetadata: 7,
  data: 8,
} as const;
const ticksPerMs = 10_000;
const uuidLength = 36;
// UUID { string string = 2 } inside field 1: tag, length, tag, length, 36 characters.
const idPrefixLength = 4;
const encodedIdLength = idPrefixLength + uuidLength;
const tombstoneRevisionField = Uint8Array.of(field.revision << 3, 255, 255, 255, 255, 255, 255, 255, 255, 127);

const mapEntry = (key: string, value: string): Buffer =>
  bytesField(field.metadata, message(textField(1, key), textField(2, value)));

const jsonType = 'application/json';
const contentTypes = {
  json: mapEntry('content-type', jsonType),
  other: mapEntry('content-type', 'application/octet-stream'),
};
// A store knows few types of events; encoding their names again for each event is what would cost.
const encodedTypes = new RecentlyUsed<Buffer>(1000);

const typeEntry = (type: string): Buffer => {
  const known = encodedTypes.get(type);
  if (known) return known;
  const entry = mapEntry('type', type);
  encodedTypes.set(type, entry);
  return entry;
};

export const encodeStreamName = (streamName: string): Buffer => bytesField(field.stream, textField(3, streamName));

/** The event as readers receive it. Its id comes first and has a fixed length: see `eventIdOf`. */
export const encodeRecordedEvent = (event: ProposedEvent, place: EventPlace): Buffer => {
  const fixed = [
    typeEntry(event.type),
    event.contentType === jsonType ? contentTypes.json : contentTypes.other,
    mapEntry('created', String(place.createdMs * ticksPerMs)),
  ] as const;
  const fixedBytes = fixed.reduce((sum, { length }) => sum + length, encodedIdLength + place.streamName.length);
  const variableBytes = event.customMetadata.length + event.data.length;
  const fields = new FieldWriter(fixedBytes + variableBytes + 5 * maxHeaderBytes)
    .bytes(field.id, textField(2, event.id))
    .encoded(place.streamName);
  if (place.revision === tombstoneRevision) fields.encoded(tombstoneRevisionField);
  else fields.varint(field.revision, place.revision);
  fields.varint(field.prepare, place.position).varint(field.commit, place.position);
  for (const entry of fixed) fields.encoded(entry);
  return fields.bytes(field.customMetadata, event.customMetadata).bytes(field.data, event.data).finish();
};

export const eventIdOf = (record: Uint8Array): string =>
  Buffer.from(record.buffer, record.byteOffset, record.byteLength).toString('latin1', idPrefixLength, encodedIdLength);

/** The same event with its id as two 64-bit numbers, for the clients that ask for it. */
export const withStructuredId = (record: Uint8Array): Buffer => {
  const [mostSignificant, leastSignificant] = eventIdToBits(eventIdOf(record));
  const structured = message(bigVarintField(1, mostSignificant), bigVarintField(2, leastSignificant));
  return message(bytesField(field.id, bytesField(1, structured)), record.subarray(encodedIdLength));
};

/** The payload of a field, found by stepping over those before it. */
const fieldOf = (record: Uint8Array, wanted: number): Buffer => {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const cursor = { at: 0 };
  while (cursor.at < bytes.length) {
    const tag = readVarint(bytes, cursor);
    const isVarint = (tag & 7) === 0;
    const value = readVarint(bytes, cursor); // of a varint field its value, else its length
    if (isVarint) continue;
    if (tag >> 3 === wanted) return bytes.subarray(cursor.at, cursor.at + value);
    cursor.at += value;
  }
  return Buffer.alloc(0);
};

export const dataOf = (record: Uint8Array): Buffer => fieldOf(record, field.data);

export const customMetadataOf = (record: Uint8Array): Buffer => fieldOf(record, field.customMetadata);
