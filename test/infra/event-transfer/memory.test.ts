import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { queryObjects } from 'node:v8';
import { importEvents } from '#infra/event-transfer/import-events.ts';
import { spawnStore } from '../embedded-event-store/child-process.ts';
import { connect, tempDir } from '../embedded-event-store/support.ts';
import { exportTo, fileIn, fill } from './support.ts';

const size = { streams: 32, each: 500 };
const total = size.streams * size.each;
const looks = 2;

/** A store in a process of its own: what it keeps does not count. */
const startStore = async (t: TestContext) => connect(t, (await spawnStore(t, await tempDir(t)).ready).connection);

/** An event's data and metadata are an array of bytes each, as long as somebody has the event. */
const arraysAlive = (): number => queryObjects(Uint8Array, { format: 'count' });

/** How many more are alive than before, at the most, each time that another part of the log has moved. */
const watchArrays = () => {
  const before = arraysAlive();
  let more = 0;
  let looked = 0;
  const onProgress = ({ events }: Readonly<{ events: number }>): void => {
    if (events < (total * (looked + 1)) / looks) return;
    looked += 1;
    more = Math.max(more, arraysAlive() - before);
  };
  return { onProgress, seen: () => ({ more, looked }) };
};

test('a log of any size moves in the same memory', async (t) => {
  const [source, target] = await Promise.all([startStore(t), startStore(t)]);
  await fill(source, size);
  const path = await fileIn(t);
  const out = watchArrays();
  assert.equal((await exportTo(source, path, { onProgress: out.onProgress })).events, total);
  const into = watchArrays();
  const onProgress = (progress: Readonly<{ phase: string; events: number }>): void => {
    if (progress.phase === 'importing') into.onProgress(progress);
  };
  assert.equal((await importEvents({ client: target, files: [{ path }], onProgress })).written, total);
  for (const [way, { more, looked }] of Object.entries({ export: out.seen(), import: into.seen() })) {
    t.diagnostic(`${way}: ${more} arrays more`);
    assert.equal(looked, looks);
    // Whoever kept the log would have two for each of its events; what is under way does not depend on its size.
    assert.ok(more < total, `${way}: ${more} arrays more`);
  }
});
