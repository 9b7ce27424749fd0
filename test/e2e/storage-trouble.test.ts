import assert from 'node:assert/strict';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import pg from 'pg';
import { pino } from 'pino';
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { changeExtents } from '../support/lab-vm.ts';
import { notRoot } from '../support/root.ts';
import type { WireBackup, WireError } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

describe('trouble with storage', () => {
  let world: World;
  let kept: Kept;
  let earlier: WireBackup;
  const mounts: string[] = [];
  before(async () => {
    world = await World.open();
    kept = await world.keep();
    earlier = await world.backUp('full');
  });
  after(async () => {
    for (const mount of mounts) await execa('umount', [mount]);
    await world.close();
  });

  const mountAt = async (name: string, args: readonly string[]): Promise<string> => {
    const path = join(world.folder, name);
    await mkdir(path);
    await execa('mount', [...args, path]);
    mounts.push(path);
    return path;
  };

  const assertFullDiskFails = async (name: string, root: string): Promise<void> => {
    const repositoryId = await world.addRepository(name, join(root, 'backups'));
    const { backup_id } = await world.start('full', { repository_id: repositoryId });
    const failed = await world.ended(backup_id);
    assert.equal(failed.status, 'failed');
    assert.match(failed.error_message ?? '', /No space left on device/);
    await world.assertTidy([world.repositoryPath, join(root, 'backups')]);
    await world.assertIdentical(earlier, kept);
  };

  test('a disk that fills up in the middle: the job fails with that reason', { skip: notRoot }, async () => {
    const file = join(world.folder, 'small.ext4');
    await execa('truncate', ['-s', '40M', file]);
    await execa('mke2fs', ['-q', '-F', '-t', 'ext4', file], { env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } });
    await assertFullDiskFails('small disk', await mountAt('small', ['-o', 'loop', file]));
  });

  test('memory that fills up in the middle: the same', { skip: notRoot }, async () => {
    await assertFullDiskFails('small memory', await mountAt('memory', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs']));
  });

  test('a filesystem without direct I/O takes backups', { skip: notRoot }, async () => {
    const root = await mountAt('large-memory', ['-t', 'tmpfs', '-o', 'size=256m', 'tmpfs']);
    const repositoryId = await world.addRepository('memory', root);
    const backup = await world.backUp('full', { repository_id: repositoryId });
    await world.assertIdentical(backup, kept);
    await world.assertTidy([world.repositoryPath, root]);
    assert.equal((await world.call('DELETE', `/backups/${backup.backup_id}`)).status, 200);
    await world.assertTidy([world.repositoryPath, root]);
  });

  test('an image that is deleted under a chain: no increment on it, one sentence why, others unharmed', async () => {
    const elsewhere = join(world.folder, 'elsewhere');
    const repositoryId = await world.addRepository('elsewhere', elsewhere);
    const more = { repository_id: repositoryId };
    const full = await world.backUp('full', more);
    await changeExtents(world.vm.disks[0] ?? '', { count: 4, sizeBytes: mib, seed: 'chain' });
    await world.backUp('incremental', more);
    const image = full.disk_results[0]?.qcow2_path ?? '';
    await rename(image, join(world.folder, 'taken-away'));

    const { status, body } = await world.call<WireError>('POST', '/backups', {
      body: world.request('incremental', more),
    });
    assert.equal(status, 400, JSON.stringify(body));
    assert.match(body.error, /no previous backup found/);
    assert.ok(body.details.includes(image), body.details);
    assert.equal((await world.list(`?repository_id=${repositoryId}`)).length, 2, 'a refusal leaves no job');
    await world.assertIdentical(earlier, kept);

    const now = await world.keep();
    await world.assertIdentical(await world.backUp('full', more), now);
    await rename(join(world.folder, 'taken-away'), image);
    await world.assertTidy([world.repositoryPath, elsewhere]);
  });

  test('a repository that is gone: 503, no job, and back in service when it is back', async () => {
    await rename(world.repositoryPath, `${world.repositoryPath}-away`);
    const before = await world.list();
    const { status, body } = await world.call<WireError>('POST', '/backups', { body: world.request('full') });
    assert.equal(status, 503, JSON.stringify(body));
    assert.equal((await world.list()).length, before.length);
    await rm(world.repositoryPath, { recursive: true, force: true });
    await rename(`${world.repositoryPath}-away`, world.repositoryPath);
    await world.backUp('full');
  });

  type Listed = Readonly<{ repositories: readonly Readonly<{ storage: unknown; storage_info: unknown }>[] }>;
  /** The listing measures anew each time. */
  const unmeasured = ({ repositories, ...rest }: Listed): unknown => ({
    ...rest,
    repositories: repositories.map(({ storage: _, storage_info: __, ...repository }) => repository),
  });

  /** Everything that the read models tell. */
  const everything = async (): Promise<unknown> => {
    const backups = await world.list();
    const paths = [
      ...['/backups', '/vm-contexts', '/vmware-credentials', '/nbd/ports/status'],
      ...backups.flatMap(({ backup_id: id }) => [`/backups/${id}`, `/backups/${id}/disks`, `/telemetry/history/${id}`]),
      `/backups/stats?vm_name=${world.vm.name}&repository_id=${world.repositoryId}`,
      `/backups/chain?vm_name=${world.vm.name}`,
    ];
    const replies = await Promise.all(paths.map((path) => world.call('GET', path)));
    const repositories = unmeasured((await world.call<Listed>('GET', '/repositories')).body);
    return { repositories, ...Object.fromEntries(paths.map((path, index) => [path, replies[index]?.body])) };
  };

  const dropReadModels = async (): Promise<void> => {
    const log = pino({ level: 'silent' });
    const signal = new AbortController().signal;
    const postgres = await startEmbeddedPostgres({ dataDir: join(world.hubData, 'postgres'), log }, signal);
    const client = new pg.Client({ ...postgres.connection });
    await client.connect();
    const { rows } = await client.query<{ name: string }>(
      `select nspname as name from pg_namespace where nspname ~ '^sendense_(read_|projections)'`,
    );
    for (const { name } of rows) await client.query(`drop schema ${name} cascade`);
    await client.end();
    await postgres.stop();
  };

  test('read models that are dropped come back from the events, row for row', async () => {
    const before = await everything();
    await world.stopHub();
    await dropReadModels();
    await world.startHub();
    assert.deepEqual(await everything(), before);
    await world.assertIdentical(await world.backUp('full'), await world.keep());
  });
});
