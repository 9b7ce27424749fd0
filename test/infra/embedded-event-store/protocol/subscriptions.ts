import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Position, ResolvedEvent } from '@eventstore/db-client';
import { eventTypeFilter, streamNameFilter } from './filters.ts';
import { Followed } from './followed.ts';
import { collect, type Lane, newStream } from './lane.ts';

const startOf = async (lane: Lane, stream: string): Promise<Position> => {
  const { position } = await lane.client.appendToStream(stream, lane.event(0));
  assert.ok(position);
  return position;
};

const keyOf = ({ event }: ResolvedEvent): string => `${event?.revision}@${event?.streamId}`;

const proveOneStream = (lane: Lane): void => {
  const { client } = lane;
  test('a stream is followed from its start, from after a revision, from its end and before it exists', async () => {
    const stream = newStream();
    const early = new Followed(client.subscribeToStream(stream));
    await early.live();
    await client.appendToStream(stream, lane.events(3));
    const [whole, rest, fresh] = [
      new Followed(client.subscribeToStream(stream)),
      new Followed(client.subscribeToStream(stream, { fromRevision: 1n })),
      new Followed(client.subscribeToStream(stream, { fromRevision: 'end' })),
    ];
    await Promise.all([whole.live(), rest.live(), fresh.live()]);
    await client.appendToStream(stream, lane.events(2, 3));
    const names = (...revisions: readonly number[]) => revisions.map((revision) => `${revision}@${stream}`);
    assert.deepEqual(await early.has(5), names(0, 1, 2, 3, 4));
    assert.deepEqual(await whole.has(5), names(0, 1, 2, 3, 4));
    assert.deepEqual(await rest.has(3), names(2, 3, 4));
    assert.deepEqual(await fresh.has(2), names(3, 4));
    assert.equal(whole.log[3], 'caught-up', 'once, between what was there and what is new');
    assert.equal(whole.log.filter((entry) => entry === 'caught-up').length, 1);
    await Promise.all([early, whole, rest, fresh].map((followed) => followed.stop()));
  });

  test('truncated events are left out, a soft delete is survived, a tombstone shown and then the end', async () => {
    const stream = newStream();
    await client.appendToStream(stream, lane.events(4));
    await client.setStreamMetadata(stream, { maxCount: 2 });
    const followed = new Followed(client.subscribeToStream(stream));
    await followed.live();
    await client.deleteStream(stream);
    await client.appendToStream(stream, lane.event(4));
    await followed.has(3);
    await client.tombstoneStream(stream);
    assert.equal((await followed.failure()).type, 'stream-deleted');
    assert.deepEqual(
      followed.events,
      [2, 3, 4, 2n ** 63n - 1n].map((revision) => `${revision}@${stream}`),
    );
    const late = new Followed(client.subscribeToStream(stream));
    assert.equal((await late.failure()).type, 'stream-deleted');
  });
};

const proveLog = (lane: Lane): void => {
  const { client } = lane;
  test('$all is followed from its start, from after a position and from its end', async () => {
    const stream = newStream();
    const position = await startOf(lane, stream);
    const [whole, rest, fresh] = [
      new Followed(client.subscribeToAll()),
      new Followed(client.subscribeToAll({ fromPosition: position })),
      new Followed(client.subscribeToAll({ fromPosition: 'end' })),
    ];
    await Promise.all([whole.live(), rest.live(), fresh.live()]);
    await client.appendToStream(stream, lane.events(2, 1));
    const live = [`1@${stream}`, `2@${stream}`];
    assert.deepEqual(await rest.has(2), live);
    assert.deepEqual(await fresh.has(2), live);
    const logged = (await collect(client.readAll())).map(keyOf);
    assert.deepEqual(await whole.has(logged.length), logged);
    await Promise.all([whole, rest, fresh].map((followed) => followed.stop()));
  });

  for (const [what, filterOf] of Object.entries({
    'a prefix of the stream': (stream: string) => streamNameFilter({ prefixes: ['nothing-', stream] }),
    'a pattern of the stream': (stream: string) => streamNameFilter({ regex: `^${stream}$` }),
    'a prefix of the type': (stream: string) => eventTypeFilter({ prefixes: [`Type${stream}`] }),
    'a pattern of the type': (stream: string) => eventTypeFilter({ regex: `${stream}$` }),
  })) {
    test(`a filter on ${what} gives what matches, with checkpoints that go on and never back`, async () => {
      const stream = newStream();
      const fromPosition = await startOf(lane, newStream());
      const type = `Type${stream}`;
      const matching = (count: number) => Array.from({ length: count }, (_, n) => lane.event(n, { type }));
      await client.appendToStream(newStream(), lane.events(150));
      await client.appendToStream(stream, matching(2));
      const checkpoints: bigint[] = [];
      const filter = {
        ...filterOf(stream),
        maxSearchWindow: 10,
        checkpointInterval: 3,
        checkpointReached: (_: unknown, { commit }: Position) => {
          checkpoints.push(commit);
        },
      };
      const followed = new Followed(client.subscribeToAll({ fromPosition, filter }));
      await followed.live();
      await client.appendToStream(newStream(), lane.events(100));
      await client.appendToStream(stream, matching(1));
      assert.deepEqual(
        await followed.has(3),
        [0, 1, 2].map((revision) => `${revision}@${stream}`),
      );
      assert.ok(checkpoints.length >= 250 / 30, `${checkpoints.length} checkpoints`);
      assert.ok(checkpoints.every((at, index) => index === 0 || at > (checkpoints[index - 1] ?? at)));
      await followed.stop();
    });
  }
};

const proveOrder = (lane: Lane): void => {
  const { client } = lane;
  test('64 writers at once: who follows live and who joins late see every event once, in the order of the log', async () => {
    const fromPosition = await startOf(lane, newStream());
    const prefix = newStream('load');
    const filter = streamNameFilter({ prefixes: [prefix] });
    const early = new Followed(client.subscribeToAll({ fromPosition, filter }));
    await early.live();
    const late: Followed[] = [];
    const write = async (writer: number) => {
      for (let round = 0; round < 4; round += 1) {
        await client.appendToStream(`${prefix}-${writer % 16}`, lane.events(2, round));
        if (writer === 0) late.push(new Followed(client.subscribeToAll({ fromPosition, filter })));
      }
    };
    await Promise.all(Array.from({ length: 64 }, (_, writer) => write(writer)));
    const logged = (await collect(client.readAll({ fromPosition })))
      .filter(({ event }) => event?.streamId.startsWith(prefix))
      .map(keyOf);
    assert.equal(new Set(logged).size, 64 * 4 * 2);
    for (const followed of [early, ...late]) {
      assert.deepEqual(await followed.has(logged.length), logged);
      await followed.stop();
    }
  });

  test('two hundred subscribers are all served', async () => {
    const stream = newStream();
    const all = Array.from({ length: 200 }, () => new Followed(client.subscribeToStream(stream)));
    await Promise.all(all.map((followed) => followed.live()));
    await client.appendToStream(stream, lane.events(5));
    for (const followed of all) {
      assert.equal((await followed.has(5)).length, 5);
      await followed.stop();
    }
  });
};

export const proveSubscriptions = (lane: Lane): void => {
  describe(`subscriptions through ${lane.library.name}, ${lane.store.mode}`, () => {
    proveOneStream(lane);
    proveLog(lane);
    proveOrder(lane);
  });
};
