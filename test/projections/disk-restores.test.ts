import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { DiskRestoreEvent, RestoreTarget } from '#domain/disk-restore/events.ts';
import { diskRestoreQueries, diskRestoresProjection } from '#projections/disk-restores.ts';
import { at } from '../support/backup-facts.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { createTeller } from '../support/projected.ts';

let postgres: TestPostgres;
before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

const target: RestoreTarget = { type: 'nbd', uri: 'nbd://kvm-1/x' };
const requested = (restoreId: string, backupId: string, diskIndex: number): DiskRestoreEvent => ({
  type: 'DiskRestoreRequested',
  data: {
    ...{ restoreId, backupId, diskIndex, vmName: 'pgtest1', imagePath: '/r/0.qcow2', sizeBytes: 1024 },
    ...{ target, verify: false, at: at() },
  },
});
const of = (restoreId: string) => ({ restoreId, at: at(1) });

test('restores are open until they have ended, and are counted by what they are', async () => {
  const { readModel } = await postgres.fresh();
  const tell = createTeller(readModel, diskRestoresProjection);
  await tell(...['a', 'b', 'c', 'd', 'e'].map((id, index) => requested(id, `backup-${id}`, index)));
  await tell({ type: 'DiskRestoreStarted', data: { ...of('b'), attempt: 1 } });
  const queries = diskRestoreQueries(readModel);
  const counts = async () => Object.fromEntries((await queries.counts()).map(({ status, count }) => [status, count]));
  assert.deepEqual(await counts(), { pending: 4, running: 1 });
  await tell(
    { type: 'DiskRestoreCompleted', data: of('c') },
    { type: 'DiskRestoreFailed', data: { ...of('d'), kind: 'target', reason: 'full' } },
    { type: 'DiskRestoreCancelRequested', data: of('e') },
  );
  const open = async () => (await queries.open()).toSorted((one, other) => one.diskIndex - other.diskIndex);
  assert.deepEqual(await open(), [
    { restoreId: 'a', backupId: 'backup-a', diskIndex: 0, target },
    { restoreId: 'b', backupId: 'backup-b', diskIndex: 1, target },
    // It still reads: only the end of the copy ends it.
    { restoreId: 'e', backupId: 'backup-e', diskIndex: 4, target },
  ]);
  await tell({ type: 'DiskRestoreCancelled', data: of('e') });
  assert.equal((await open()).length, 2);
  assert.deepEqual(await counts(), { pending: 1, running: 1, completed: 1, failed: 1, cancelled: 1 });
});
