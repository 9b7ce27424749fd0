import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { World } from '../support/world.ts';

type Status = Readonly<{ log: Readonly<{ begun_anew_because: string | null }> | null }>;

/** PostgreSQL stays as it is while the event store's data directory is another one; each test goes on where the last stopped. */
describe('a hub whose event store’s data directory was replaced', () => {
  let world: World;
  let older: readonly string[];
  const store = () => join(world.hubData, 'event-store');
  const copy = () => join(world.folder, 'older-event-store');
  before(async () => {
    world = await World.open();
    await world.backUp('full');
  });
  after(() => world.close());

  const backups = async () => (await world.list()).map(({ backup_id: id }) => id);
  const begunAnewBecause = async () =>
    (await world.call<Status>('GET', '/admin/projections')).body.log?.begun_anew_because;
  const warnings = async (): Promise<number> =>
    (await world.hub.log()).split('the read models are of another event log').length - 1;

  test('by itself goes on as if nothing had been', async () => {
    older = await backups();
    await world.stopHub();
    await cp(store(), copy(), { recursive: true });
    await world.startHub();
    assert.deepEqual([await backups(), await begunAnewBecause(), await warnings()], [older, null, 0]);
  });

  test('by an older copy shows what that copy knows, warns, and says why', async () => {
    await world.backUp('incremental');
    assert.equal((await backups()).length, 2);
    await world.killHub();
    await rm(store(), { recursive: true });
    await cp(copy(), store(), { recursive: true });
    await world.startHub();
    assert.deepEqual(await backups(), older);
    assert.equal(await warnings(), 1);
    assert.match((await begunAnewBecause()) ?? '', /this log/);
    await world.backUp('incremental');
    assert.equal((await backups()).length, 2);
  });

  test('by nothing begins with empty tables', async () => {
    await world.stopHub();
    await rm(store(), { recursive: true });
    await world.startHub();
    assert.deepEqual([await backups(), await warnings()], [[], 2]);
  });
});
