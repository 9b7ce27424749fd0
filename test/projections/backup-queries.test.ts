import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { BackupEvent } from '#domain/backup/events.ts';
import { type BackupQueries, backupQueries } from '#projections/backup-queries.ts';
import { backupsProjection } from '#projections/backups.ts';
import { at, backupDisk, backupStarted, gib } from '../support/backup-facts.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { createTeller } from '../support/projected.ts';

let postgres: TestPostgres;
let tell: ReturnType<typeof createTeller>;
let queries: BackupQueries;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
beforeEach(async () => {
  const { readModel } = await postgres.fresh();
  tell = createTeller(readModel, backupsProjection);
  queries = backupQueries(readModel);
});

type Made = Readonly<{
  id: string;
  vm?: string;
  context?: string;
  repository?: string;
  parent?: string | null;
  disks?: readonly number[];
  end?: 'completed' | 'failed' | 'running';
}>;

let clock = 0;
/** A backup's events from its start to its end, each made later than the one before. */
const made = ({
  id,
  vm = 'pgtest1',
  context = 'ctx-1',
  repository = 'repo-1',
  parent = null,
  disks = [0, 1],
  end = 'completed',
}: Made): readonly BackupEvent[] => {
  clock += 100;
  const of = { backupId: id, at: at(clock + 50) };
  const started = backupStarted({
    ...{ backupId: id, at: at(clock), vmName: vm, vmContextId: context, repositoryId: repository },
    ...{ backupContextId: `${context}-${repository}`, parentBackupId: parent },
    backupType: parent === null ? 'full' : 'incremental',
    disks: disks.map((index) => backupDisk(index, { imagePath: `/repo/${id}-${index}.qcow2` })),
  });
  if (end === 'running') return [started];
  if (end === 'failed')
    return [started, { type: 'BackupFailed', data: { ...of, kind: 'client', reason: 'x', facts: {} } }];
  const bytes = disks.map((diskIndex) => ({ diskIndex, imageBytes: gib, bytesTransferred: gib }));
  const totals = { bytesTransferred: disks.length * gib, totalBytes: disks.length * gib };
  return [started, { type: 'BackupCompleted', data: { ...of, ...totals, disks: bytes } }];
};
const make = async (...all: readonly Made[]) => {
  for (const each of all) await tell(...made(each));
};
const ids = (rows: readonly { backup_id: string }[]) => rows.map(({ backup_id: id }) => id);

describe('the list of backups', () => {
  test('is newest first, and every filter narrows it', async () => {
    await make(
      { id: 'a' },
      { id: 'b', repository: 'repo-2' },
      { id: 'c', vm: 'my-disk1-vm', context: 'ctx-2' },
      { id: 'd', parent: 'a' },
      { id: 'e', end: 'failed' },
      { id: 'f', parent: 'a', end: 'running' },
    );
    assert.deepEqual(ids(await queries.list({})), ['f', 'e', 'd', 'c', 'b', 'a']);
    assert.deepEqual(ids(await queries.list({ vmName: 'pgtest1', repositoryId: 'repo-1' })), ['f', 'e', 'd', 'a']);
    assert.deepEqual(ids(await queries.list({ vmName: 'my-disk1-vm' })), ['c']);
    assert.deepEqual(ids(await queries.list({ vmContextId: 'ctx-2', repositoryId: 'repo-2' })), []);
    assert.deepEqual(ids(await queries.list({ backupType: 'incremental' })), ['f', 'd']);
    assert.deepEqual(ids(await queries.list({ status: 'completed', repositoryId: 'repo-2' })), ['b']);
    const all = {
      vmName: 'pgtest1',
      vmContextId: 'ctx-1',
      repositoryId: 'repo-1',
      backupType: 'incremental',
      status: 'running',
    };
    assert.deepEqual(ids(await queries.list(all)), ['f']);
    for (const filter of [{ vmName: 'x' }, { status: 'x' }, { backupType: 'x' }, { repositoryId: "' or 1=1 --" }])
      assert.deepEqual(await queries.list(filter), []);
  });
});

describe('the chain of a disk', () => {
  const place = { vmContextId: 'ctx-1', repositoryId: 'repo-1', diskIndex: 0 };

  test('is the newest full backup and its increments, oldest first', async () => {
    await make(
      { id: 'old' },
      { id: 'old-1', parent: 'old' },
      { id: 'full' },
      { id: 'inc-1', parent: 'full' },
      { id: 'inc-2', parent: 'inc-1' },
    );
    assert.deepEqual(ids(await queries.chain(place)), ['full', 'inc-1', 'inc-2']);
    assert.deepEqual(ids(await queries.chain({ ...place, diskIndex: 1 })), ['full', 'inc-1', 'inc-2']);
  });
  test('begins anew with each full backup', async () => {
    await make({ id: 'full' }, { id: 'inc-1', parent: 'full' }, { id: 'newer' });
    assert.deepEqual(ids(await queries.chain(place)), ['newer']);
  });
  test('leaves out what failed or runs, other repositories and other VMs', async () => {
    await make(
      { id: 'full' },
      { id: 'inc-1', parent: 'full' },
      { id: 'failed', parent: 'inc-1', end: 'failed' },
      { id: 'elsewhere', repository: 'repo-2' },
      { id: 'other', context: 'ctx-2' },
      { id: 'running', end: 'running' },
    );
    assert.deepEqual(ids(await queries.chain(place)), ['full', 'inc-1']);
    assert.deepEqual(ids(await queries.chain({ ...place, repositoryId: 'repo-2' })), ['elsewhere']);
    assert.deepEqual(ids(await queries.chain({ ...place, repositoryId: 'repo-3' })), []);
  });
  test('ends with the parent when the head was deleted', async () => {
    await make({ id: 'full' }, { id: 'inc-1', parent: 'full' });
    await tell(
      { type: 'BackupRemovalRequested', data: { backupId: 'inc-1', at: at() } },
      { type: 'BackupRemoved', data: { backupId: 'inc-1', at: at() } },
    );
    assert.deepEqual(ids(await queries.chain(place)), ['full']);
  });
  test('of a disk that the newest backups lack is its own', async () => {
    await make({ id: 'both' }, { id: 'one', disks: [0] });
    assert.deepEqual(ids(await queries.chain({ ...place, diskIndex: 1 })), ['both']);
    assert.deepEqual(ids(await queries.chain({ ...place, diskIndex: 2 })), []);
  });
});

describe('numbers over backups', () => {
  test('count completed ones of the VM in the repository', async () => {
    await make(
      { id: 'a' },
      { id: 'b', parent: 'a', disks: [0] },
      { id: 'c', end: 'failed' },
      { id: 'd', repository: 'repo-2' },
      { id: 'e', end: 'running' },
    );
    const last = (await queries.find('b'))?.completed_at;
    assert.deepEqual(await queries.stats('pgtest1', 'repo-1'), { count: 2, bytes: 3 * gib, lastAt: last });
    assert.deepEqual(await queries.stats('nobody', 'repo-1'), { count: 0, bytes: 0, lastAt: null });
  });
  test('tell what holds files in a repository', async () => {
    await make({ id: 'a' }, { id: 'b', end: 'running' }, { id: 'c', end: 'failed' }, { id: 'd', repository: 'repo-2' });
    assert.equal(await queries.countIn('repo-1'), 3);
    await tell({ type: 'BackupClosed', data: { backupId: 'c', at: at(), performance: null } });
    assert.equal(await queries.countIn('repo-1'), 2);
  });
  test('know the repository of the newest completed backup', async () => {
    await make({ id: 'a' }, { id: 'b', repository: 'repo-2' }, { id: 'c', end: 'failed' });
    assert.equal(await queries.newestRepository('ctx-1'), 'repo-2');
    assert.equal(await queries.newestRepository('ctx-9'), undefined);
  });
});

describe('looking for jobs', () => {
  test('by one disk’s own id', async () => {
    await make({ id: 'backup-a-1' }, { id: 'backup-b-2' });
    for (const diskIndex of [0, 1]) {
      const found = await queries.jobOfDisk(`backup-b-2-${diskIndex}`);
      assert.deepEqual(found, { backupId: 'backup-b-2', diskIndex });
    }
    assert.equal(await queries.jobOfDisk('backup-nobody-disk0-1'), undefined);
  });
  test('that run, with their last sign of life', async () => {
    await make({ id: 'a' }, { id: 'b', end: 'running' }, { id: 'c', end: 'failed' });
    const [running, ...others] = await queries.running();
    assert.deepEqual([running?.backupId, running?.status, running?.heard, others], ['b', 'running', false, []]);
    assert.equal(running?.lastActivityAt, (await queries.find('b'))?.started_at);
    assert.deepEqual((await queries.open()).toSorted(), ['a', 'b', 'c']);
  });
});
