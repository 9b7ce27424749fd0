import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createMoments, type MomentLimits } from '../../src/composition/moments.ts';
import { eventually } from '../support/eventually.ts';

type Fake = Readonly<{ name: string; isLost: () => boolean; close: () => Promise<void> }>;

const limits: MomentLimits = { kept: 2, building: 1, patienceMs: 5_000, idleMs: 60_000 };

const createWorld = (over: Partial<MomentLimits> = {}) => {
  const built: string[] = [];
  const closed: string[] = [];
  const lost = new Set<string>();
  const moments = createMoments<Fake>({ ...limits, ...over });
  const make = (name: string): Fake => {
    built.push(name);
    return {
      name,
      isLost: () => lost.has(name),
      close: async () => {
        closed.push(name);
      },
    };
  };
  const ask = (name: string): Promise<string> =>
    moments.use(
      name,
      async () => make(name),
      async (moment) => moment.name,
    );
  return { moments, built, closed, lost, make, ask };
};

const isNotReady = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'history-not-ready';

describe('moments of the past', () => {
  test('are built once for questions side by side and one after the other', async () => {
    const { ask, built, closed, moments } = createWorld();
    assert.deepEqual(await Promise.all([ask('a'), ask('a')]), ['a', 'a']);
    await ask('a');
    assert.deepEqual(built, ['a']);
    await moments.close();
    assert.deepEqual(closed, ['a']);
    await assert.rejects(ask('a'));
  });

  test('make room for others, the one that was not asked for the longest first', async () => {
    const { ask, built, closed, moments } = createWorld();
    for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) await ask(name);
    assert.deepEqual(built, ['a', 'b', 'c', 'b']);
    assert.deepEqual(closed, ['b', 'c']);
    await moments.close();
  });

  test('are refused when all are in use, and not closed under a reader', async () => {
    const { ask, closed, make, moments } = createWorld({ kept: 1 });
    const reading = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const reader = moments.use(
      'a',
      async () => make('a'),
      async () => {
        begun.resolve();
        await reading.promise;
      },
    );
    await begun.promise;
    await assert.rejects(ask('b'), isNotReady);
    assert.deepEqual(closed, []);
    reading.resolve();
    await reader;
    assert.equal(await ask('b'), 'b');
    await moments.close();
    assert.deepEqual(closed, ['a', 'b']);
  });

  test('that take too long are refused, and found built later', async () => {
    const { make, built, moments } = createWorld({ patienceMs: 20 });
    const slow = Promise.withResolvers<void>();
    const ask = () =>
      moments.use(
        'slow',
        async () => {
          await slow.promise;
          return make('slow');
        },
        async (moment) => moment.name,
      );
    await assert.rejects(ask(), isNotReady);
    slow.resolve();
    assert.equal(await ask(), 'slow');
    assert.deepEqual(built, ['slow']);
    await moments.close();
  });

  test('that could not be built are tried again', async () => {
    const { moments, ask } = createWorld();
    const failing = moments.use(
      'a',
      () => Promise.reject(new Error('no store')),
      async () => 'never',
    );
    await assert.rejects(failing, /no store/);
    assert.equal(await ask('a'), 'a');
    await moments.close();
  });

  test('whose tables are lost are built anew', async () => {
    const { ask, lost, built, moments } = createWorld();
    await ask('a');
    lost.add('a');
    const again = ask('a');
    lost.delete('a');
    await again;
    assert.deepEqual(built, ['a', 'a']);
    await moments.close();
  });

  test('that nobody asks for are given back', async () => {
    const { ask, closed, moments } = createWorld({ idleMs: 10 });
    await ask('a');
    await eventually('it is closed', () => closed.length === 1);
    await moments.close();
    assert.deepEqual(closed, ['a']);
  });

  test('are built so many at a time', async () => {
    const { moments, make } = createWorld({ building: 1 });
    let running = 0;
    let most = 0;
    const build = (name: string) => async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise(setImmediate);
      running -= 1;
      return make(name);
    };
    await Promise.all(['a', 'b'].map((name) => moments.use(name, build(name), async () => undefined)));
    assert.equal(most, 1);
    await moments.close();
  });
});
