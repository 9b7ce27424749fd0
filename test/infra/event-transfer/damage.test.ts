import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { EventFileDamaged, encodeBlock, readBlocks } from '#infra/event-transfer/blocks.ts';
import { readEventFile } from '#infra/event-transfer/event-file.ts';
import { encodeLine } from '#infra/event-transfer/event-line.ts';
import { startServer } from '../embedded-event-store/support.ts';
import { exportTo, fileIn, fill, historyOf, importFrom } from './support.ts';

const drain = async (path: string): Promise<number> => {
  let events = 0;
  for await (const part of readEventFile(path)) if (part.kind === 'events') events += part.events.length;
  return events;
};

describe('a file of events', () => {
  let whole: Buffer;
  let lines: readonly string[];
  const cleanUps: (() => Promise<unknown>)[] = [];
  // As a test's own context would: everything is gone afterwards.
  const context = { after: (step: () => Promise<unknown>) => cleanUps.push(step) } as never;
  before(async () => {
    const { client } = await startServer(context);
    await fill(client, { streams: 8, each: 300, bytes: 700 });
    const path = await fileIn(context);
    await exportTo(client, path);
    whole = await readFile(path);
    lines = (await historyOf(client)).map((event) => encodeLine(event).toString());
  });
  after(async () => {
    for (const step of cleanUps.reverse()) await step();
  });

  test('is lines of JSON: a header, the events as they were stored, a trailer', async (t) => {
    const path = await fileIn(t);
    await writeFile(path, whole);
    const texts: string[] = [];
    for await (const block of readBlocks(path)) texts.push(block.text.toString('utf8'));
    const text = texts.join('').split('\n');
    assert.equal(text.length, 2400 + 3);
    assert.equal(JSON.parse(text[0] ?? '').format, 'sendense-events');
    assert.deepEqual(
      text.slice(1, -2),
      lines.map((line) => line.trimEnd()),
    );
    assert.deepEqual(JSON.parse(text.at(-2) ?? '').events, 2400);
  });

  test('with one flipped bit, wherever, is found damaged before anything is written', async (t) => {
    const { client } = await startServer(t);
    const path = await fileIn(t);
    const step = Math.floor(whole.length / 60);
    for (let at = 0; at < whole.length; at += step) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      await writeFile(path, damaged);
      await assert.rejects(drain(path), EventFileDamaged, `byte ${at}`);
    }
    await assert.rejects(importFrom(client, path), (error: unknown) => {
      assert.ok(error instanceof EventFileDamaged);
      assert.match(error.message, new RegExp(`^${path} is damaged: `));
      return true;
    });
    assert.deepEqual(await historyOf(client), []);
  });

  test('that is cut, anywhere, is found damaged', async (t) => {
    const { client } = await startServer(t);
    const path = await fileIn(t);
    await writeFile(path, whole);
    const ends: number[] = [];
    for await (const { endBytes } of readBlocks(path)) ends.push(endBytes);
    assert.ok(ends.length > 3, `${ends.length} blocks`);
    for (const length of [0, 1, 52, 53, ...ends.slice(0, -1), ...ends.map((end) => end - 1)]) {
      await writeFile(path, whole.subarray(0, length));
      await assert.rejects(importFrom(client, path), EventFileDamaged, `${length} bytes`);
    }
    assert.deepEqual(await historyOf(client), []);
  });

  test('that lacks a block, or holds blocks of another file, is found damaged', async (t) => {
    const path = await fileIn(t);
    await writeFile(path, whole);
    const ends: number[] = [];
    for await (const { endBytes } of readBlocks(path)) ends.push(endBytes);
    const [header = 0, first = 0, second = 0] = ends;
    for (const [from, to] of [
      [header, first],
      [first, second],
    ] as const) {
      await writeFile(path, Buffer.concat([whole.subarray(0, from), whole.subarray(to)]));
      await assert.rejects(drain(path), /the checksum of block \d at byte \d+ does not match/);
    }
    await writeFile(path, Buffer.concat([whole, whole]));
    await assert.rejects(drain(path), EventFileDamaged);
    await writeFile(path, 'something else\n'.repeat(20));
    await assert.rejects(drain(path), /is not an export of events/);
  });

  test('whose trailer tells of other events is found damaged', async (t) => {
    const path = await fileIn(t);
    await writeFile(path, whole);
    let hash: Buffer = Buffer.alloc(0);
    let end = 0;
    for await (const block of readBlocks(path))
      if (block.kind !== 'trailer') [hash, end] = [block.hash, block.endBytes];
    const trailer = { end: true, events: 2399, sha256: '0'.repeat(64) };
    const text = Buffer.from(`${JSON.stringify(trailer)}\n`);
    const { bytes } = await encodeBlock({ kind: 'trailer', eventCount: 0, text }, hash);
    await writeFile(path, Buffer.concat([whole.subarray(0, end), bytes]));
    await assert.rejects(drain(path), /not those that its trailer tells of/);
  });
});
