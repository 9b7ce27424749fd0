import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { EventStoreDBClient } from '@eventstore/db-client';
import type { EventStorage } from '#infra/embedded-event-store/event-storage.ts';
import { createEventStoreServer } from '#infra/embedded-event-store/server.ts';
import { notRoot } from '../../../support/root.ts';
import { collect, happened, revisionsOf, tempDir } from '../support.ts';
import { openStorage, proposed } from './damaged-store.ts';
import { makeImage, mount } from './loop-disk.ts';

const mib = 1024 ** 2;
const writers = 6;

/** Appends at once, one per stream; notes each the moment it is acknowledged. */
const writeSome = (
  storage: EventStorage,
  round: number,
  acknowledged: Map<string, string[]>,
): readonly Promise<void>[] =>
  Array.from({ length: writers }, async (_, n) => {
    const streamName = `order-${n}`;
    const events = [proposed('x'.repeat((round * 997) % 30_000)), proposed(`${round}`)];
    const outcome = await storage.append({ streamName, expected: { kind: 'any' }, events }, 30_000);
    assert.equal(outcome.kind, 'written');
    acknowledged.set(streamName, [...(acknowledged.get(streamName) ?? []), ...events.map(({ id }) => id)]);
  });

const idsOf = ({ reader }: EventStorage, streamName: string): readonly string[] => {
  const ids: string[] = [];
  let range = reader.visibleRange(streamName);
  for (;;) {
    const page = reader.streamPage(streamName, range, 'forwards');
    const last = page.at(-1);
    if (!last) return ids;
    // The id is the first field of a record: two headers of two bytes, then its text.
    ids.push(...page.map(({ record }) => Buffer.from(record).toString('latin1', 4, 40)));
    range = { ...range, from: last.revision + 1 };
  }
};

/** What a disk that loses power holds: the copy has nothing of what only the page cache of its filesystem knows. */
const checkAfterPowerCut = async (
  t: TestContext,
  image: string,
  acknowledged: ReadonlyMap<string, readonly string[]>,
) => {
  await using disk = await mount(image);
  const storage = await openStorage(t, join(disk.folder, 'store'));
  using _closing = { [Symbol.dispose]: storage.close };
  for (const [streamName, ids] of acknowledged) assert.deepEqual(idsOf(storage, streamName).slice(0, ids.length), ids);
};

test('a power cut at any acknowledgement loses nothing: it is on the disk before it is told', {
  skip: notRoot,
}, async (t) => {
  const folder = await tempDir(t);
  const [image, copy] = [join(folder, 'disk'), join(folder, 'copy')];
  await makeImage(image, 48 * mib);
  await using disk = await mount(image);
  const storage = await openStorage(t, join(disk.folder, 'store'));
  using _closing = { [Symbol.dispose]: storage.close };
  const acknowledged = new Map<string, string[]>();
  for (let round = 0; round < 24; round += 1) {
    const writing = writeSome(storage, round, acknowledged);
    const under = round % 2 === 0 ? writing : [...writing, ...writeSome(storage, round + 1, acknowledged)];
    await Promise.race(under);
    // The store lives in this thread: while it copies nothing else is written.
    copyFileSync(image, copy);
    await checkAfterPowerCut(t, copy, new Map([...acknowledged].map(([name, ids]) => [name, [...ids]])));
    await Promise.all(under);
  }
});

test('a disk that is really full refuses appends, loses nothing, serves reads and starts; with room it goes on', {
  skip: notRoot,
}, async (t) => {
  const folder = await tempDir(t);
  const image = join(folder, 'disk');
  await makeImage(image, 32 * mib);
  await using disk = await mount(image);
  const dataDir = join(disk.folder, 'store');
  const start = async () => {
    const server = await createEventStoreServer({ dataDir });
    const client = EventStoreDBClient.connectionString(`esdb://127.0.0.1:${server.port}?tls=false`);
    const stop = async () => {
      await client.dispose();
      await server.close();
    };
    return { client, stop };
  };
  const filler = join(disk.folder, 'filler');
  let { client, stop } = await start();
  try {
    const { bavail, bsize } = await statfs(disk.folder);
    await writeFile(filler, Buffer.alloc(bavail * bsize - 3 * mib, 1));
    let acknowledged = 0;
    const fill = async () => {
      for (;;) {
        await client.appendToStream('order-1', happened(acknowledged, { text: 'x'.repeat(40_000) }));
        acknowledged += 1;
      }
    };
    await assert.rejects(fill(), /no space left/);
    assert.ok(acknowledged > 5);
    const revisions = async () => revisionsOf(await collect(client.readStream('order-1')));
    const kept = [...Array(acknowledged).keys()];
    assert.deepEqual(await revisions(), kept);
    await stop();
    ({ client, stop } = await start());
    assert.deepEqual(await revisions(), kept);
    await assert.rejects(fill(), /no space left/);
    await rm(filler);
    const next = await client.appendToStream('order-1', happened(0), { expectedRevision: BigInt(acknowledged - 1) });
    assert.equal(next.nextExpectedRevision, BigInt(acknowledged));
  } finally {
    await stop();
  }
});
