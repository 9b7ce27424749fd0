import assert from 'node:assert/strict';
import { test } from 'node:test';
import streamsPb from '@eventstore/db-client/generated/streams_pb.js';
import {
  dataOf,
  encodeRecordedEvent,
  encodeStreamName,
  eventIdOf,
  tombstoneRevision,
  withStructuredId,
} from '#infra/embedded-event-store/recorded-event.ts';

const id = '01234567-89ab-cdef-0123-456789abcdef';
const { RecordedEvent } = streamsPb.ReadResp.ReadEvent;

const encode = (revision: number, position: number, dataLength: number) =>
  encodeRecordedEvent(
    {
      id,
      type: 'Größe',
      contentType: 'application/json',
      data: new Uint8Array(dataLength).fill(7),
      customMetadata: Uint8Array.of(1, 2, 3),
    },
    { streamName: encodeStreamName('order-ä'), revision, position, createdMs: 1_700_000_000_123 },
  );

for (const [revision, position, dataLength] of [
  [0, 1, 0],
  [127, 128, 127],
  [2 ** 31, 2 ** 40 + 5, 200_000],
  [2 ** 45, 2 ** 53 - 2, 3],
] as const) {
  test(`an event at revision ${revision} and position ${position} is what the protocol's own decoder reads`, () => {
    const bytes = encode(revision, position, dataLength);
    const decoded = RecordedEvent.deserializeBinary(bytes);
    assert.equal(decoded.getId()?.getString(), id);
    assert.equal(Buffer.from(decoded.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString(), 'order-ä');
    assert.equal(decoded.getStreamRevision(), String(revision));
    assert.equal(decoded.getCommitPosition(), String(position));
    assert.equal(decoded.getPreparePosition(), String(position));
    assert.deepEqual(decoded.getMetadataMap().toArray().toSorted(), [
      ['content-type', 'application/json'],
      ['created', '17000000001230000'],
      ['type', 'Größe'],
    ]);
    assert.deepEqual([...decoded.getCustomMetadata_asU8()], [1, 2, 3]);
    assert.equal(Buffer.compare(decoded.getData_asU8(), new Uint8Array(dataLength).fill(7)), 0);
    assert.equal(Buffer.compare(dataOf(bytes), decoded.getData_asU8()), 0);
    assert.equal(eventIdOf(bytes), id);
  });
}

test('a tombstone has the largest revision there is', () => {
  const decoded = RecordedEvent.deserializeBinary(encode(tombstoneRevision, 1, 0));
  assert.equal(decoded.getStreamRevision(), String(2n ** 63n - 1n));
});

test('an id as two numbers leaves the rest of the event as it was', () => {
  const decoded = RecordedEvent.deserializeBinary(withStructuredId(encode(5, 6, 7)));
  const structured = decoded.getId()?.getStructured();
  assert.equal(BigInt(structured?.getMostSignificantBits() ?? 0), 0x0123456789abcdefn);
  assert.equal(BigInt(structured?.getLeastSignificantBits() ?? 0), 0x0123456789abcdefn);
  assert.equal(decoded.getStreamRevision(), '5');
  assert.equal(decoded.getData_asU8().length, 7);
});
