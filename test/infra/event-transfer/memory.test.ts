import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { importEvents } from '#infra/event-transfer/import-events.ts';
import { spawnStore } from '../embedded-event-store/child-process.ts';
import { connect, tempDir } from '../embedded-event-store/support.ts';
import { exportTo, fileIn, fill } from './support.ts';

const size = { streams: 60, each: 500 };
const total = size.streams * size.each;
const looks = 4;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** A store in a process of its own: what it keeps does not count. */
const startStore = async (t: TestContext) => connect(t, (await spawnStore(t, await tempDir(t)).ready).connection);

const liveMib = (): number => {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1024 ** 2;
};

/** How much more than before is alive, at the most, each time that another part of the log has moved. */
const watchMemory = () => {
  const before = liveMib();
  let grownMib = 0;
  let looked = 0;
  const onProgress = ({ events }: Readonly<{ events: number }>): void => {
    if (events < (total * (looked + 1)) / looks) return;
    looked += 1;
    grownMib = Math.max(grownMib, liveMib() - before);
  };
  return { onProgress, grown: () => ({ grownMib, looked }) };
};

test('a log of any size moves in the same memory', async (t) => {
  const [source, target] = await Promise.all([startStore(t), startStore(t)]);
  await fill(source, size);
  const path = await fileIn(t);
  const out = watchMemory();
  assert.equal((await exportTo(source, path, { onProgress: out.onProgress })).events, total);
  const into = watchMemory();
  const importing = (progress: Readonly<{ phase: string; events: number }>) =>
    progress.phase === 'importing' && into.onProgress(progress);
  assert.equal((await importEvents({ client: target, files: [{ path }], onProgress: importing })).written, total);
  for (const [way, { grownMib, looked }] of Object.entries({ export: out.grown(), import: into.grown() })) {
    t.diagnostic(`${way}: ${grownMib.toFixed(1)} MiB more`);
    assert.equal(looked, looks);
    // All its events are more than twice that; what is under way is less than half.
    assert.ok(grownMib < 12, `${way}: ${grownMib.toFixed(1)} MiB more`);
  }
});
