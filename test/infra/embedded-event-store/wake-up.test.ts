import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { WakeUp } from '#infra/embedded-event-store/grpc/wake-up.ts';

const isOpen = async (waiting: Promise<void>): Promise<boolean> =>
  Promise.race([waiting.then(() => false), setImmediate(true)]);

test('a knock before the wait is not lost, and counts once', async () => {
  const wakeUp = new WakeUp();
  wakeUp.knock();
  wakeUp.knock();
  await wakeUp.wait();
  const second = wakeUp.wait();
  assert.ok(await isOpen(second));
  wakeUp.knock();
  await second;
});

test('a knock during the wait ends it', async () => {
  const wakeUp = new WakeUp();
  const waiting = wakeUp.wait();
  assert.ok(await isOpen(waiting));
  wakeUp.knock();
  await waiting;
  assert.ok(await isOpen(wakeUp.wait()));
});
