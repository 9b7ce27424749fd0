import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { Position, ResolvedEvent } from '@eventstore/db-client';
import { eventually } from '../../../support/eventually.ts';
import { dbClient } from './db-client.ts';
import { streamNameFilter } from './filters.ts';
import { newStream, openLane, outcomeOf } from './lane.ts';

const lane = await openLane('insecure', dbClient, ['--append-size', 'data-only']);
const { client, store } = lane;

const residentMib = async (): Promise<number> => {
  const status = await readFile(`/proc/${store.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
};

test('a subscriber that does not read costs the server no memory, and gets everything when it does', async () => {
  const stream = newStream();
  const text = 'x'.repeat(100_000);
  const write = (first: number, count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, n) =>
        client.appendToStream(`${stream}-${n % 4}`, lane.event(first + n, { text })),
      ),
    );
  const filter = streamNameFilter({ prefixes: [stream] });
  const slow = Array.from({ length: 4 }, () =>
    client.subscribeToAll({ fromPosition: 'end', filter }, { highWaterMark: 1 }),
  );
  const first = new Set<unknown>();
  for (const subscription of slow) subscription.on('confirmation', () => first.add(subscription)).pause();
  await eventually('all to be confirmed', () => first.size === slow.length);
  await write(0, 100);
  const beforeMib = await residentMib();
  await write(100, 300);
  const grownMib = (await residentMib()) - beforeMib;
  // Four times 30 MB would be waiting if the server kept what was not read; SQLite's cache is 16 MB of what it may keep.
  assert.ok(grownMib < 60, `grew by ${grownMib.toFixed()} MiB`);
  for (const subscription of slow) {
    let seen = 0;
    subscription.on('data', () => {
      seen += 1;
    });
    subscription.resume();
    await eventually('the slow one to have everything', () => seen >= 400);
    assert.equal(seen, 400);
    await subscription.unsubscribe();
  }
});

test('a subscriber that loses the server comes back to where it was: nothing missed, nothing doubled', async () => {
  const stream = newStream();
  const seen: unknown[] = [];
  const filter = streamNameFilter({ prefixes: [stream] });
  let after: Position | 'start' = 'start';
  let stopped = false;
  const follow = async () => {
    while (!stopped) {
      try {
        const subscription = client.subscribeToAll({ fromPosition: after, filter });
        for await (const { event } of subscription as AsyncIterable<ResolvedEvent>) {
          if (!event) continue;
          seen.push((event.data as Readonly<{ n: number }>).n);
          after = event.position ?? after;
          if (seen.length === 300) return;
        }
      } catch {
        // The server is gone: it is asked again, from where it was.
      }
    }
  };
  const following = follow();
  const write = async (n: number): Promise<void> => {
    const event = lane.event(n);
    await eventually('the append', async () =>
      /^at/.test(
        await outcomeOf(
          client.appendToStream(stream, event, { expectedRevision: n === 0 ? 'no_stream' : BigInt(n - 1) }),
        ),
      ),
    );
  };
  for (let n = 0; n < 100; n += 1) await write(n);
  await eventually('something to be seen', () => seen.length > 0);
  await store.crashAndRestart();
  for (let n = 100; n < 200; n += 1) await write(n);
  await store.crashAndRestart();
  for (let n = 200; n < 300; n += 1) await write(n);
  await eventually('all to be seen', () => seen.length >= 300);
  stopped = true;
  await following;
  assert.deepEqual(
    seen,
    Array.from({ length: 300 }, (_, n) => n),
  );
});

test('counted as servers up to 23.10 did, 30,000 small events are one append and 40,000 are too much', async () => {
  const text = 'x'.repeat(13); // 30 bytes of JSON
  const small = (count: number) => Array.from({ length: count }, (_, n) => lane.event(n % 10, { text }));
  assert.equal(await outcomeOf(client.appendToStream(newStream(), small(30_000))), 'at 29999');
  const tooMuch = client.appendToStream(newStream(), small(40_000));
  assert.equal(await outcomeOf(tooMuch), 'maximum-append-size-exceeded');
});
