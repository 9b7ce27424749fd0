import assert from 'node:assert/strict';
import { cp, mkdir, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { StoreDamaged } from '#infra/embedded-event-store/damage.ts';
import { happened, startServer, tempDir } from '../support.ts';
import { askEverything, fill, openStorage, proposed } from './damaged-store.ts';

const file = 'events.sqlite';

/** A filled store that was stopped, and what it answers when it is intact. */
const intactStore = async (t: TestContext) => {
  const folder = await tempDir(t);
  const dataDir = join(folder, 'intact');
  const storage = await openStorage(t, dataDir);
  await fill(storage);
  const answers = askEverything(storage);
  storage.close();
  assert.ok(![...answers.values()].includes('damaged'));
  return { folder, dataDir, answers };
};

const copyOf = async (folder: string, dataDir: string): Promise<string> => {
  const copy = join(folder, 'copy');
  await rm(copy, { recursive: true, force: true });
  await cp(dataDir, copy, { recursive: true });
  return copy;
};

type Flip = (bytes: Buffer) => string;

const random = (below: number): number => Math.floor(Math.random() * below);

const bit: Flip = (bytes) => {
  const at = random(bytes.length);
  const mask = 1 << random(8);
  bytes[at] = (bytes[at] ?? 0) ^ mask;
  return `bit ${mask} of byte ${at}`;
};

/** What a disk does that writes half of a page, or the wrong one. */
const page: Flip = (bytes) => {
  const pages = bytes.length / 4096;
  const [to, from, half] = [random(pages) * 4096, random(pages) * 4096, random(2) * 2048];
  const what = random(2) === 0 ? bytes.subarray(from + half, from + 4096) : Buffer.alloc(4096 - half);
  what.copy(bytes, to + half);
  return `page at ${to} from ${from}, second half: ${half > 0}`;
};

for (const [name, flip, times] of [
  ['a flipped bit', bit, 400],
  ['a page that is zero, torn or another one', page, 100],
] as const) {
  test(`${name} anywhere in the file is told, and never changes or shortens an answer`, async (t) => {
    const { folder, dataDir, answers } = await intactStore(t);
    const intact = await readFile(join(dataDir, file));
    const copy = await copyOf(folder, dataDir);
    let told = 0;
    for (let n = 0; n < times; n += 1) {
      const bytes = Buffer.from(intact);
      const what = flip(bytes);
      await writeFile(join(copy, file), bytes);
      const answered = await openStorage(t, copy).then(
        (storage) => {
          const found = askEverything(storage);
          storage.close();
          return found;
        },
        (error: unknown) => {
          assert.match(error instanceof Error ? error.message : '', /damaged|newer Sendense/, what);
          return undefined;
        },
      );
      let isTold = answered === undefined;
      for (const [question, answer] of answered ?? []) {
        if (answer === 'damaged') isTold = true;
        else assert.equal(answer, answers.get(question), `${what}: ${question}`);
      }
      if (isTold) told += 1;
    }
    t.diagnostic(`${told} of ${times} were met by a reader; the others hit what holds no event`);
    assert.ok(told > times / 3, String(told));
  });
}

test('a damaged event is named to its reader; the other streams are served and appended to', async (t) => {
  const dataDir = await tempDir(t);
  const storage = await openStorage(t, dataDir);
  const append = (streamName: string, text: string) =>
    storage.append({ streamName, expected: { kind: 'any' }, events: [proposed(text)] }, 100);
  await append('order-1', 'good');
  await append('order-1', 'what is damaged');
  await append('order-2', 'good');
  storage.close();
  const bytes = await readFile(join(dataDir, file));
  bytes.write('!', bytes.indexOf('what is damaged'));
  await writeFile(join(dataDir, file), bytes);

  const { client } = await startServer(t, { dataDir });
  const read = async (stream: string) => {
    for await (const { event } of client.readStream(stream)) assert.ok(event);
  };
  await assert.rejects(read('order-1'), /events\.sqlite is damaged: the event at position 3 .*revision 1 .*export/);
  await read('order-2');
  const next = await client.appendToStream('order-2', happened(1), { expectedRevision: 0n });
  assert.equal(next.nextExpectedRevision, 1n);
});

test('a file that was cut off, or is none, is refused with a sentence, and left as it is', async (t) => {
  const { folder, dataDir } = await intactStore(t);
  const { size } = await stat(join(dataDir, file));
  for (const [what, damage] of [
    ['cut off in the middle', (path: string) => truncate(path, Math.floor(size / 2 / 4096) * 4096)],
    ['empty', (path: string) => truncate(path, 0)],
    ['missing', (path: string) => rm(path)],
    ['another file', (path: string) => writeFile(path, 'What somebody put there.\n'.repeat(500))],
  ] as const) {
    const copy = await copyOf(folder, dataDir);
    await damage(join(copy, file));
    const before = await readFile(join(copy, file)).catch(() => undefined);
    await assert.rejects(
      openStorage(t, copy),
      (error) => error instanceof StoreDamaged && /events\.sqlite/.test(error.message),
      what,
    );
    assert.deepEqual(await readFile(join(copy, file)).catch(() => undefined), before, what);
  }
});

/** The files as a kill would leave them: what was acknowledged is in the log alone. */
const killedStore = async (t: TestContext) => {
  const folder = await tempDir(t);
  const [dataDir, killed] = [join(folder, 'running'), join(folder, 'killed')];
  const storage = await openStorage(t, dataDir);
  for (let n = 0; n < 20; n += 1) {
    await storage.append({ streamName: 'order-1', expected: { kind: 'any' }, events: [proposed(`${n}`)] }, 100);
  }
  await mkdir(killed);
  await cp(dataDir, killed, { recursive: true });
  return { folder, killed };
};

test('a log that is missing, cut off or damaged is told from one that a crash ended', async (t) => {
  const { folder, killed } = await killedStore(t);
  const log = 'events.sqlite-wal';
  const { size } = await stat(join(killed, log));
  const flipByte = async (path: string, at: number) => {
    await using handle = await open(path, 'r+');
    await handle.write(Buffer.from([0xaa]), 0, 1, at);
  };
  for (const [what, damage] of [
    ['missing', (path: string) => rm(path)],
    ['empty', (path: string) => truncate(path, 0)],
    ['cut off', (path: string) => truncate(path, Math.floor(size / 2))],
    ['without its last bytes', (path: string) => truncate(path, size - 100)],
    ['damaged at its beginning', (path: string) => flipByte(path, 20)],
    ['damaged in the middle', (path: string) => flipByte(path, Math.floor(size / 2))],
    ['damaged at its end', (path: string) => flipByte(path, size - 3000)],
  ] as const) {
    const copy = await copyOf(folder, killed);
    await damage(join(copy, log));
    await assert.rejects(openStorage(t, copy), /position 21 was acknowledged, but it ends at/, what);
    await assert.rejects(openStorage(t, copy), /acknowledged/, `${what}, at the next start`);
    await rm(join(copy, 'event-store.acknowledged'));
    (await openStorage(t, copy)).close(); // whoever accepts the loss
  }
  const intact = await openStorage(t, await copyOf(folder, killed));
  assert.equal(intact.lastPosition(), 21);
});

test('a log with the torn end of an unacknowledged commit is taken up to it', async (t) => {
  const { folder, killed } = await killedStore(t);
  const copy = await copyOf(folder, killed);
  await using log = await open(join(copy, 'events.sqlite-wal'), 'a');
  await log.write(Buffer.alloc(5000, 7));
  const storage = await openStorage(t, copy);
  assert.equal(storage.lastPosition(), 21);
  assert.equal(storage.reader.visibleRange('order-1').to, 19);
});
