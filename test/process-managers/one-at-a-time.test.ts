import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createLooks } from '#process-managers/one-at-a-time.ts';

/** Looks that last until they are let go. */
const controlled = (limit: number) => {
  const begun: string[] = [];
  const errors: string[] = [];
  const held = new Map<string, PromiseWithResolvers<void>>();
  const looks = createLooks(
    limit,
    async (key, cause) => {
      begun.push(cause === undefined ? key : `${key}:${cause}`);
      const gate = Promise.withResolvers<void>();
      held.set(key, gate);
      await gate.promise;
    },
    (key, error) => errors.push(`${key}:${(error as Error).message}`),
  );
  const end = async (key: string, error?: Error) => {
    const gate = held.get(key);
    assert.ok(gate, `${key} is not being looked at`);
    held.delete(key);
    if (error) gate.reject(error);
    else gate.resolve();
    await turn();
  };
  return { looks, begun, errors, end };
};

describe('looks', () => {
  test('at one key never overlap; what was asked for meanwhile is one look more', async () => {
    const { looks, begun, end } = controlled(8);
    looks.request('a', '1');
    for (const cause of ['2', '3', undefined]) looks.request('a', cause);
    assert.deepEqual(begun, ['a:1']);
    await end('a');
    assert.deepEqual(begun, ['a:1', 'a:3']);
    await end('a');
    assert.deepEqual([begun.length, looks.open], [2, 0]);
  });

  test('at different keys go side by side up to the limit, in the order of asking', async () => {
    const { looks, begun, end } = controlled(2);
    for (const key of ['a', 'b', 'c', 'd']) looks.request(key, undefined);
    assert.deepEqual([begun, looks.open], [['a', 'b'], 4]);
    await end('b');
    assert.deepEqual(begun, ['a', 'b', 'c']);
    await end('a');
    assert.deepEqual(begun, ['a', 'b', 'c', 'd']);
  });

  test('asked for again while they wait are one look', async () => {
    const { looks, begun, end } = controlled(1);
    looks.request('a', undefined);
    looks.request('b', '1');
    looks.request('b', '2');
    await end('a');
    await end('b');
    assert.deepEqual([begun, looks.open], [['a', 'b:2'], 0]);
  });

  test('that fail are told, and hold up nobody', async () => {
    const { looks, begun, errors, end } = controlled(1);
    looks.request('a', undefined);
    looks.request('b', undefined);
    await end('a', new Error('no'));
    assert.deepEqual([errors, begun], [['a:no'], ['a', 'b']]);
    looks.request('a', undefined);
    await end('b');
    assert.deepEqual(begun, ['a', 'b', 'a']);
  });

  test('end with what is under way; nothing begins after that', async () => {
    const { looks, begun, end } = controlled(1);
    for (const key of ['a', 'a', 'b']) looks.request(key, undefined);
    let closed = false;
    const closing = looks.close().then(() => {
      closed = true;
    });
    await turn();
    assert.equal(closed, false);
    looks.request('c', undefined);
    await end('a');
    await closing;
    assert.deepEqual(begun, ['a']);
    await controlled(1).looks.close();
  });
});
