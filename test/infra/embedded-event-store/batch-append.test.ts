import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { type TestContext, test } from 'node:test';
import type { BatchAppendReq, BatchAppendResp } from '@eventstore/db-client/generated/streams_pb.js';
import streamsPb from '@eventstore/db-client/generated/streams_pb.js';
import { status } from '@grpc/grpc-js';
import type { WriteOutcome } from '#infra/embedded-event-store/event-writer.ts';
import { createBatchAppendCall } from '#infra/embedded-event-store/grpc/batch-append-call.ts';
import { OpenCalls } from '#infra/embedded-event-store/grpc/open-calls.ts';
import { passThrough } from '#infra/embedded-event-store/security/authoriser.ts';
import type { EventStoreServerOptions } from '#infra/embedded-event-store/server.ts';
import { BatchCall, connectRaw, proposed, streamNamed, uuid } from './raw-client.ts';
import { collect, revisionsOf, startServer, until } from './support.ts';

type Part = Readonly<{
  correlationId: string;
  stream?: string;
  events?: readonly string[];
  final?: boolean;
  deadline?: Date;
}>;

const timestampOf = (date: Date) => {
  const options = streamsPb.BatchAppendReq.Options.deserializeBinary(
    // Options { Timestamp deadline = 6 { seconds = 1 } }, for its class is not exported
    Uint8Array.from([0x32, 6, 0x08, ...varint(Math.floor(date.getTime() / 1000))]),
  );
  return options.getDeadline();
};

const varint = (value: number): number[] => {
  const bytes: number[] = [];
  for (let rest = value; bytes.length < 5; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | (bytes.length < 4 ? 128 : 0));
  }
  return bytes;
};

const partOf = ({ correlationId, stream, events = [], final = false, deadline }: Part): BatchAppendReq => {
  const request = new streamsPb.BatchAppendReq()
    .setCorrelationId(uuid(correlationId))
    .setProposedMessagesList(events.map((id) => proposed(id)))
    .setIsFinal(final);
  if (stream === undefined) return request;
  const options = new streamsPb.BatchAppendReq.Options().setStreamIdentifier(streamNamed(stream));
  const google = streamsPb.BatchAppendReq.Options.deserializeBinary(Uint8Array.of(0x22, 0)).getAny();
  options.setAny(google);
  if (deadline) options.setDeadline(timestampOf(deadline));
  return request.setOptions(options);
};

const correlationOf = (answer: BatchAppendResp): string => answer.getCorrelationId()?.getString() ?? '';

const start = async (t: TestContext, limits: EventStoreServerOptions['limits'] = {}) => {
  const { client, server } = await startServer(t, { limits });
  const batch = new BatchCall(connectRaw(t, server.port).batchAppend());
  t.after(() => batch.call.cancel());
  return { client, batch };
};

test('requests in interleaved parts are each answered once and written whole', async (t) => {
  const { client, batch } = await start(t);
  const [a, b] = [randomUUID(), randomUUID()];
  batch.call.write(partOf({ correlationId: a, stream: 'a', events: [randomUUID()] }));
  batch.call.write(partOf({ correlationId: b, stream: 'b', events: [randomUUID()] }));
  batch.call.write(partOf({ correlationId: a, events: [randomUUID(), randomUUID()] }));
  batch.call.write(partOf({ correlationId: b, events: [randomUUID()], final: true }));
  batch.call.write(partOf({ correlationId: a, events: [randomUUID()], final: true }));
  const answers = await batch.answered(2);
  assert.deepEqual(answers.map(correlationOf).toSorted(), [a, b].toSorted());
  assert.ok(answers.every((answer) => answer.hasSuccess() && answer.hasAny() && answer.hasStreamIdentifier()));
  assert.deepEqual(revisionsOf(await collect(client.readStream('a'))), [0, 1, 2, 3]);
  assert.deepEqual(revisionsOf(await collect(client.readStream('b'))), [0, 1]);
});

test('parts that come after an early refusal are ignored, and others go on', async (t) => {
  const { batch } = await start(t, { maxAppendSizeBytes: 30 });
  const [tooBig, next] = [randomUUID(), randomUUID()];
  batch.call.write(partOf({ correlationId: tooBig, stream: 'a', events: [randomUUID(), randomUUID()] }));
  batch.call.write(partOf({ correlationId: tooBig, events: [randomUUID()] }));
  batch.call.write(partOf({ correlationId: tooBig, events: [randomUUID()], final: true }));
  batch.call.write(partOf({ correlationId: next, stream: 'a', events: [randomUUID()], final: true }));
  const answers = await batch.answered(2);
  assert.deepEqual(answers.map(correlationOf), [tooBig, next]);
  assert.equal(answers[0]?.getError()?.getDetails()?.getTypeName(), 'event_store.client.MaximumAppendSizeExceeded');
  assert.ok(answers[1]?.hasSuccess());
});

test('a correlation id that is used again while it is being written gets no second answer', async () => {
  const { promise: written, resolve } = Promise.withResolvers<WriteOutcome>();
  let appends = 0;
  const append = () => {
    appends += 1;
    return written;
  };
  const answers: Uint8Array[] = [];
  const call = new Duplex({
    objectMode: true,
    read: () => undefined,
    write: (answer, _encoding, done) => {
      answers.push(answer);
      done();
    },
  });
  const limits = { maxAppendSizeBytes: 1000, appendSizeRule: 'data-only', writeTimeoutMs: 1000 };
  const service = { storage: { append }, calls: new OpenCalls(), limits, authoriser: passThrough };
  createBatchAppendCall(service as never)(call as never);
  const part = partOf({ correlationId: randomUUID(), stream: 'a', events: [randomUUID()], final: true });
  call.push(part);
  call.push(part);
  await until(() => appends > 0, 'the append');
  resolve({ kind: 'written', revision: 0, position: 1 });
  call.push(null);
  await once(call, 'finish');
  assert.deepEqual([appends, answers.length], [1, 1]);
});

test('a request whose deadline has passed is answered with a timeout and not written', async (t) => {
  const { client, batch } = await start(t);
  const late = { stream: 'late', events: [randomUUID()], final: true, deadline: new Date(Date.now() - 5000) };
  batch.call.write(partOf({ ...late, correlationId: randomUUID() }));
  const [answer] = await batch.answered(1);
  assert.equal(answer?.getError()?.getCode(), status.DEADLINE_EXCEEDED);
  assert.equal(answer?.getError()?.getDetails()?.getTypeName(), 'event_store.client.Timeout');
  await assert.rejects(collect(client.readStream('late')), { type: 'stream-not-found' });
});

test('a request that is never finished times out, and its late rest is ignored', async (t) => {
  const { client, batch } = await start(t, { writeTimeoutMs: 100 });
  const correlationId = randomUUID();
  batch.call.write(partOf({ correlationId, stream: 'slow', events: [randomUUID()] }));
  const [answer] = await batch.answered(1);
  assert.equal(answer?.getError()?.getDetails()?.getTypeName(), 'event_store.client.Timeout');
  batch.call.write(partOf({ correlationId, events: [randomUUID()], final: true }));
  batch.call.write(partOf({ correlationId: randomUUID(), stream: 'other', events: [randomUUID()], final: true }));
  assert.equal((await batch.answered(2)).length, 2);
  await assert.rejects(collect(client.readStream('slow')), { type: 'stream-not-found' });
});

test('a client that has sent everything still gets its answers before the call ends', async (t) => {
  const { batch } = await start(t);
  for (let n = 0; n < 20; n++) {
    batch.call.write(partOf({ correlationId: randomUUID(), stream: `s-${n}`, events: [randomUUID()], final: true }));
  }
  batch.call.end();
  await once(batch.call, 'end');
  assert.equal(batch.answers.length, 20);
  assert.equal(batch.error, undefined);
});

test('an event without a type is refused with a reason the client can read', async (t) => {
  const { batch } = await start(t);
  const nameless = partOf({ correlationId: randomUUID(), stream: 'a', final: true });
  const message = proposed(randomUUID());
  message.getMetadataMap().del('type');
  batch.call.write(nameless.setProposedMessagesList([message]));
  const [answer] = await batch.answered(1);
  assert.match(answer?.getError()?.getMessage() ?? '', /type,content-type/);
});

test('the stop of the server ends the call as cancelled, which makes clients reconnect', async (t) => {
  const { server } = await startServer(t);
  const batch = new BatchCall(connectRaw(t, server.port).batchAppend());
  batch.call.write(partOf({ correlationId: randomUUID(), stream: 'a', events: [randomUUID()], final: true }));
  await batch.answered(1);
  await server.close();
  await until(() => batch.error !== undefined, 'the end of the call');
  assert.equal(batch.error?.code, status.CANCELLED);
});
