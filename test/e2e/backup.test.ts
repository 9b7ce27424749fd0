import assert from 'node:assert/strict';
import { access } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { changeExtents } from '../support/lab-vm.ts';
import type { WireBackup, WireError } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

type Chain = Readonly<{
  full_backup_id: string;
  backup_count: number;
  total_size_bytes: number;
  backups: readonly WireBackup[];
}>;
type ChangeId = Readonly<Record<string, string>>;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Each test goes on where the one before it stopped: a history of one VM. */
describe('the backups of a VM with two disks', () => {
  let world: World;
  let otherRepositoryId: string;
  const made: { backup: WireBackup; kept: Kept }[] = [];
  before(async () => {
    world = await World.open();
    otherRepositoryId = await world.addRepository('other', `${world.folder}/other`);
  });
  after(() => world.close());

  const make = async (type: 'full' | 'incremental', more: object = {}): Promise<WireBackup> => {
    const kept = await world.keep();
    const backup = await world.backUp(type, more);
    made.push({ backup, kept });
    await world.assertIdentical(backup, kept);
    return backup;
  };
  const idOf = (index: number): string => made[index]?.backup.backup_id ?? '';
  const roots = (): readonly string[] => [world.repositoryPath, `${world.folder}/other`];

  test('an increment before any full backup is refused, and no job is made', async () => {
    const { status, body } = await world.call<WireError>('POST', '/backups', { body: world.request('incremental') });
    assert.equal(status, 400);
    assert.match(body.error, /no previous backup found/);
    assert.match(body.details, /full/);
    assert.deepEqual(await world.list(), []);
  });

  test('a full backup holds both disks bit for bit and tells how it went', async () => {
    const full = await make('full');
    assert.equal(full.type, 'full');
    assert.equal(full.progress_percent, 100);
    assert.equal(full.current_phase, 'completed');
    assert.ok(full.bytes_transferred > 30 * mib && full.bytes_transferred <= full.total_bytes, JSON.stringify(full));
    assert.equal(full.nbd_targets_string, undefined);
    for (const [index, disk] of full.disk_results.entries()) {
      assert.equal(disk.disk_id, index);
      assert.equal(disk.nbd_export_name, `pgtest1-disk-${2000 + index}`);
      assert.equal(disk.status, 'completed');
      assert.equal(disk.nbd_port, null);
      assert.equal(disk.qemu_nbd_pid, null);
      assert.ok(disk.change_id && disk.bytes_transferred > 0, JSON.stringify(disk));
    }
    await world.assertTidy();
  });

  test('an increment takes over changes, zeroes within them included', async () => {
    for (const disk of world.vm.disks)
      await changeExtents(disk, { count: 8, sizeBytes: mib, zeroHalf: true, seed: 'first' });
    const increment = await make('incremental');
    assert.ok(increment.bytes_transferred >= 16 * mib, `${increment.bytes_transferred}`);
    assert.ok(increment.bytes_transferred <= 16.8 * mib, `${increment.bytes_transferred} is more than what changed`);
    await world.assertIdentical(...([made[0]?.backup, made[0]?.kept] as [WireBackup, Kept]));
  });

  test('an increment on an increment does the same, with one disk unchanged', async () => {
    await changeExtents(world.vm.disks[0] ?? '', { count: 5, sizeBytes: mib / 4, zeroHalf: true, seed: 'second' });
    const increment = await make('incremental');
    assert.equal(increment.disk_results[1]?.bytes_transferred, 0);
    assert.ok(increment.bytes_transferred <= 1.25 * 1.05 * mib, `${increment.bytes_transferred}`);
    await world.assertTidy();
  });

  test('an increment in another repository is based on that repository', async () => {
    const more = { repository_id: otherRepositoryId };
    const refused = await world.call('POST', '/backups', { body: world.request('incremental', more) });
    assert.equal(refused.status, 400);
    await make('full', more);
    for (const disk of world.vm.disks) await changeExtents(disk, { count: 2, sizeBytes: mib, seed: 'elsewhere' });
    await make('incremental', more);
    await make('incremental');
    await world.assertTidy(roots());
  });

  test('a full backup with history copies everything again', async () => {
    const again = await make('full');
    const first = made[0]?.backup.bytes_transferred ?? 0;
    assert.ok(again.bytes_transferred >= first - 16 * mib, `${again.bytes_transferred} after ${first}`);
    assert.ok(again.bytes_transferred > 30 * mib);
    assert.equal((await world.show(idOf(0))).status, 'completed');
  });

  test('the lists combine their filters', async () => {
    const count = async (query: string): Promise<number> => (await world.list(query)).length;
    assert.equal(await count(''), 7);
    assert.equal(await count(`?vm_name=pgtest1&repository_id=${otherRepositoryId}`), 2);
    assert.equal(await count(`?repository_id=${otherRepositoryId}&backup_type=full&status=completed`), 1);
    assert.equal(await count('?backup_type=incremental'), 4);
    assert.equal(await count('?status=failed'), 0);
    assert.equal(await count('?vm_name=nobody'), 0);
    assert.equal(await count(`?vm_context_id=${made[0]?.backup.vm_context_id}&backup_type=full`), 3);
    const times = (await world.list()).map(({ started_at: at }) => at);
    assert.deepEqual(times, times.toSorted().reverse(), 'newest first');
    assert.ok(
      (await world.list()).every((backup) => !Object.keys(backup).includes('disk_results') && backup.disks_count === 2),
    );
  });

  test('the chain is the newest full backup with its increments, by both paths', async () => {
    const { body: newest } = await world.call<Chain>(
      'GET',
      `/backups/chain?vm_name=pgtest1&repository_id=${world.repositoryId}`,
    );
    assert.equal(newest.full_backup_id, idOf(6));
    assert.equal(newest.backup_count, 1);
    const { body: other } = await world.call<Chain>(
      'GET',
      `/backups/pgtest1/chain?disk_id=1&repository_id=${otherRepositoryId}`,
    );
    assert.deepEqual(
      other.backups.map(({ backup_id }) => backup_id),
      [idOf(3), idOf(4)],
    );
    assert.equal(
      other.total_size_bytes,
      other.backups.reduce((sum, { total_bytes: bytes }) => sum + bytes, 0),
    );
  });

  test('the statistics count what completed', async () => {
    const { body } = await world.call('GET', `/backups/stats?vm_name=pgtest1&repository_id=${world.repositoryId}`);
    const own = await world.list(`?repository_id=${world.repositoryId}`);
    assert.deepEqual(body, {
      backup_count: 5,
      total_size_bytes: own.reduce((sum, { bytes_transferred: bytes }) => sum + bytes, 0),
      last_backup_at: made[6]?.backup.completed_at,
    });
    const nobody = await world.call('GET', '/backups/stats?vm_name=nobody&repository_id=none');
    assert.deepEqual(nobody.body, { backup_count: 0, total_size_bytes: 0, last_backup_at: null });
  });

  test('the last change id is the newest of all repositories, or of the one that is asked for', async () => {
    const ask = (query: string) => world.call<ChangeId>('GET', `/backups/changeid?vm_name=pgtest1&${query}`);
    for (const index of [0, 1]) {
      const { status, body } = await ask(`disk_id=${index}`);
      assert.equal(status, 200);
      assert.deepEqual(
        Object.values(body).map((value) => typeof value),
        Array.from({ length: 8 }, () => 'string'),
      );
      assert.equal(body.backup_id, idOf(6));
      assert.equal(body.disk_id, String(index));
      assert.equal(body.change_id, made[6]?.backup.disk_results[index]?.change_id);
    }
    assert.equal((await ask('')).body.disk_id, '0');
    assert.equal((await ask(`disk_id=1&repository_id=${otherRepositoryId}`)).body.backup_id, idOf(4));
  });

  test('the records of the disks, the profile and the audit trail stay', async () => {
    const { body: disks } = await world.call<{ count: number; disks: { vmware_disk_key: number; status: string }[] }>(
      'GET',
      `/backups/${idOf(1)}/disks`,
    );
    assert.equal(disks.count, 2);
    assert.deepEqual(
      disks.disks.map(({ vmware_disk_key: key, status }) => [key, status]),
      [
        [2000, 'completed'],
        [2001, 'completed'],
      ],
    );
    const { body: history } = await world.call('GET', `/telemetry/history/${idOf(0)}`);
    assert.equal(history.data_source, 'rolled_up');
    const trail = await world.events(idOf(0));
    assert.equal(trail[0]?.type, 'BackupStarted');
    assert.equal(trail.at(-1)?.type, 'BackupClosed');
    assert.ok(
      trail.every(({ text, actor, time }) => text.endsWith('.') && actor !== '' && !Number.isNaN(Date.parse(time))),
    );
  });

  test('a backup with dependants is not deleted; from the head back all are, with their files', async () => {
    const remove = async (index: number): Promise<number> =>
      (await world.call('DELETE', `/backups/${idOf(index)}`)).status;
    assert.equal(await remove(0), 409);
    assert.equal(await remove(1), 409);
    assert.equal(await remove(3), 409);
    for (const index of [5, 2, 1]) {
      assert.equal(await remove(index), 200, `backup ${index}`);
      assert.equal((await world.call('GET', `/backups/${idOf(index)}`)).status, 404);
      for (const { qcow2_path: path } of made[index]?.backup.disk_results ?? [])
        assert.ok(!(await exists(path)) && !(await exists(`${path}.json`)), path);
    }
    await world.assertTidy(roots());
    for (const index of [0, 3, 4, 6]) {
      const { backup, kept } = made[index] ?? assert.fail();
      await world.assertIdentical(backup, kept);
    }
    const { body } = await world.call<Chain>(
      'GET',
      `/backups/chain?vm_name=pgtest1&repository_id=${world.repositoryId}`,
    );
    assert.equal(body.full_backup_id, idOf(6));
    for (const index of [6, 0, 4, 3]) assert.equal(await remove(index), 200, `backup ${index}`);
    await world.assertTidy(roots());
    assert.deepEqual(await world.list(), []);
  });

  test('when all are deleted an increment needs a full backup again', async () => {
    const { status } = await world.call('POST', '/backups', { body: world.request('incremental') });
    assert.equal(status, 400);
    await world.assertIdentical(await world.backUp('full'), await world.keep());
  });
});
