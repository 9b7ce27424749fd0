import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ResponseStream, StreamEnded } from '#infra/embedded-event-store/grpc/response-stream.ts';

/** A reader that takes a message only when told to. */
const startReader = (highWaterMark: number) => {
  const taken: unknown[] = [];
  let takeOne: (() => void) | undefined;
  const call = new Writable({
    objectMode: true,
    highWaterMark,
    write: (chunk, _encoding, done) => {
      taken.push(chunk);
      takeOne = done;
    },
  });
  const ended = new AbortController();
  const out = new ResponseStream(call, ended.signal);
  let sent = 0;
  const sending = (async () => {
    for (let n = 0; n < 100; n++) {
      await out.send(Uint8Array.of(n));
      sent = n + 1;
    }
  })();
  return { taken, ended, sending, takeOne: () => takeOne?.(), sent: () => sent };
};

test('a sender waits for a reader that is behind, and goes on when it has read', async () => {
  const reader = startReader(4);
  await setImmediate();
  assert.equal(reader.sent(), 3);
  while (reader.taken.length < 100) {
    reader.takeOne();
    await setImmediate();
    assert.ok(reader.sent() - reader.taken.length <= 4);
  }
  reader.takeOne();
  await reader.sending;
});

test('a sender that waits is let go when the call ends', async () => {
  const reader = startReader(4);
  await setImmediate();
  reader.ended.abort();
  await assert.rejects(reader.sending, StreamEnded);
  assert.equal(reader.sent(), 3);
});
