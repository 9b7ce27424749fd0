import assert from 'node:assert/strict';
import { access, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Reply, type RepositoryHub, recordBackup, startRepositoryHub } from './repository-hub.ts';

let hub: RepositoryHub;
before(async () => {
  hub = await startRepositoryHub();
  await mkdir(hub.root);
});
after(() => hub.close());

type Info = Readonly<Record<string, number | string>>;
type Repository = Readonly<{ id: string; storage_info: Info | null; storage: Info | null; [key: string]: unknown }>;

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const local = (name: string, more: object = {}) => ({
  ...{ name, type: 'local', config: { path: join(hub.root, name) }, ...more },
});
const repositoryIn = ({ body }: Reply): Repository => body.repository as Repository;
const add = async (name: string, more: object = {}): Promise<Repository> => {
  const reply = await hub.call('POST /repositories', local(name, more));
  assert.equal(reply.status, 201, JSON.stringify(reply.body));
  return repositoryIn(reply);
};
const list = async (query = ''): Promise<readonly Repository[]> => {
  const { status, body } = await hub.call(`GET /repositories${query}`);
  assert.equal(status, 200);
  const { repositories, total } = body as { repositories: Repository[]; total: number };
  assert.equal(body.success, true);
  assert.equal(total, repositories.length);
  return repositories;
};
const listed = async (id: string, query = '') => (await list(query)).find((each) => each.id === id);
const errorOf = (reply: Reply, status: number): string => {
  assert.equal(reply.status, status, JSON.stringify(reply.body));
  assert.equal(reply.body.success, false);
  return String(reply.body.error);
};

describe('POST /repositories', () => {
  test('answers 201 with the whole repository, measured', async () => {
    const path = join(hub.root, 'primary');
    const config = {
      path: `${path}/`,
      auto_mount: true,
      mount_options: ['ro', 'noatime'],
      description: 'fast',
      region: 'x',
    };
    const reply = await hub.call('POST /repositories', { name: 'Primary', type: 'local', config, colour: 'red' });
    assert.equal(reply.status, 201);
    assert.deepEqual(Object.keys(reply.body), ['success', 'repository']);
    const { id, storage_info, storage, created_at, updated_at, ...rest } = repositoryIn(reply);
    assert.match(id, /^repo-local-\d{10}$/);
    assert.deepEqual(rest, {
      ...{ name: 'Primary', type: 'local', enabled: true, is_immutable: false, min_retention_days: 0 },
      config: { path, auto_mount: true, mount_options: 'ro,noatime', description: 'fast' },
    });
    for (const at of [created_at, updated_at, storage_info?.last_check_at]) assert.match(String(at), time);
    const { total_bytes, used_bytes, available_bytes, used_percent, last_check_at } = storage_info ?? {};
    assert.ok(Number(total_bytes) > 0);
    assert.equal(used_bytes, Number(total_bytes) - Number(available_bytes));
    assert.equal(used_percent, Math.round((Number(used_bytes) / Number(total_bytes)) * 1_000) / 10);
    assert.deepEqual(storage_info, {
      ...{ repository_id: id, total_bytes, used_bytes, available_bytes, used_percent, last_check_at },
      ...{ backup_count: 0, mount_point: path },
    });
    assert.deepEqual(storage, {
      ...{ total_bytes, used_bytes, available_bytes, used_percentage: used_percent, last_check_at },
    });
    assert.deepEqual(await readdir(path), []);
  });

  test('shows the new repository in the list at once', async () => {
    const { id } = await add('at-once');
    assert.equal((await listed(id))?.name, 'at-once');
  });

  test('refuses what is missing or has the wrong shape with 400', async () => {
    const wrong: readonly (readonly [object | string, RegExp])[] = [
      ['{', /JSON/i],
      [{ type: 'local', config: { path: '/x' } }, /name is required/],
      [{ name: '  ', type: 'local', config: { path: '/x' } }, /name is required/],
      [{ name: 'x', config: { path: '/x' } }, /type is required/],
      [{ name: 'x', type: 'local' }, /config is required/],
      [{ name: 'x', type: 'local', config: {} }, /config\.path is required/],
      [{ name: 'x', type: 'local', config: { path: 7 } }, /config\.path/],
      [{ name: 'x', type: 'local', config: { path: 'relative' } }, /absolute/],
      [{ name: 'x', type: 'local', config: { path: '/x/../y' } }, /"\.\."/],
      [local('x', { enabled: 'yes' }), /enabled/],
      [local('x', { min_retention_days: -1 }), /min_retention_days/],
      [local('x'.repeat(256)), /255/],
    ];
    for (const [body, text] of wrong) assert.match(errorOf(await hub.call('POST /repositories', body), 400), text);
    await assert.rejects(access(join(hub.root, 'x')));
  });

  test('refuses types and options that are not served with 400 and a way out', async () => {
    const refusal = async (more: object) => errorOf(await hub.call('POST /repositories', local('y', more)), 400);
    assert.equal(await refusal({ type: 's3' }), 'Unsupported repository type: s3');
    assert.equal(await refusal({ type: 'azure', config: { container: 'c' } }), 'Unsupported repository type: azure');
    const nfs = { type: 'nfs', config: { server: 's', export_path: '/e', mount_options: ['ro'] } };
    assert.match(await refusal(nfs), /^nfs repositories are not supported yet; mount the share yourself/);
    for (const asked of [{ is_immutable: true }, { min_retention_days: 7 }, { immutable_config: { type: 'x' } }]) {
      assert.match(await refusal(asked), /^immutable repositories are not supported yet/);
    }
    await add('y', { is_immutable: false, min_retention_days: 0, immutable_config: null });
  });

  test('answers 409 for a name or a directory in use', async () => {
    await add('taken');
    assert.match(errorOf(await hub.call('POST /repositories', local('taken')), 409), /"taken" is already in use/);
    const nested = { name: 'nested', type: 'local', config: { path: join(hub.root, 'taken', 'deeper') } };
    assert.match(errorOf(await hub.call('POST /repositories', nested), 409), /lies inside the repository "taken"/);
  });

  test('answers 422 with the reason for a directory that cannot be used, and stores nothing', async () => {
    await writeFile(join(hub.root, 'file'), '');
    const before = (await list()).length;
    assert.match(errorOf(await hub.call('POST /repositories', local('file')), 422), /file/);
    assert.equal((await list()).length, before);
  });

  test('answers a repeat with the same Idempotency-Key with the same repository', async () => {
    const send = () => hub.call('POST /repositories', local('keyed'), { 'idempotency-key': 'once' });
    const [first, second] = [await send(), await send()];
    assert.deepEqual([first.status, second.status], [201, 201]);
    assert.equal(repositoryIn(second).id, repositoryIn(first).id);
    const other = await hub.call('POST /repositories', local('other'), { 'idempotency-key': 'once' });
    errorOf(other, 422);
  });
});

describe('GET /repositories', () => {
  test('lists disabled ones, filters, and ignores what it does not understand', async () => {
    const { id: off } = await add('off', { enabled: false });
    const { id: on } = await add('on');
    assert.equal((await listed(off))?.enabled, false);
    assert.ok((await listed(off, '?enabled=false')) && !(await listed(on, '?enabled=false')));
    assert.ok((await listed(on, '?enabled=true')) && !(await listed(off, '?enabled=true')));
    assert.ok((await listed(on, '?enabled=maybe&type=local')) && (await listed(off, '?enabled=maybe')));
    assert.deepEqual(await list('?type=nfs'), []);
  });

  test('lists what cannot be reached or does not answer without storage, and never fails for it', async () => {
    const { id: gone } = await add('gone');
    const { id: hanging } = await add('hanging');
    await rm(join(hub.root, 'gone'), { recursive: true });
    hub.dead.add(join(hub.root, 'hanging'));
    for (const id of [gone, hanging]) {
      const repository = await listed(id);
      assert.deepEqual([repository?.storage_info, repository?.storage], [null, null]);
    }
    hub.dead.clear();
  });

  test('counts backups, failed ones left out', async () => {
    const { id: repositoryId } = await add('counted');
    for (const status of ['running', 'completed', 'failed'] as const) {
      await recordBackup(hub.stores.database, { backupId: `backup-counted-${status}`, repositoryId, status });
    }
    assert.equal((await listed(repositoryId))?.storage_info?.backup_count, 2);
  });
});

describe('POST /repositories/test', () => {
  test('tells what it found and keeps nothing', async () => {
    const path = join(hub.root, 'tried');
    const { status, body } = await hub.call('POST /repositories/test', { type: 'local', config: { path } });
    assert.equal(status, 200);
    const { success, message, storage, storage_info } = body as Record<string, Info>;
    assert.equal(success, true);
    assert.equal(typeof message, 'string');
    assert.deepEqual(storage, {
      ...{ total_bytes: storage_info?.total_bytes, available_bytes: storage_info?.available_bytes, writable: true },
    });
    assert.equal(storage_info?.mount_point, path);
    assert.deepEqual(await readdir(path), []);
    await add('tried');
  });

  test('tells a failure with 200, as the console expects', async () => {
    const config = { path: '/proc/sendense' };
    const { status, body } = await hub.call('POST /repositories/test', { type: 'local', config });
    assert.equal(status, 200);
    const { error, ...rest } = body;
    assert.deepEqual(rest, { success: false, message: 'Repository test failed', error_details: error });
    assert.match(String(error), /\/proc\/sendense/);
  });

  test('refuses a wrong type or shape with 400', async () => {
    const refusal = async (body: object) => errorOf(await hub.call('POST /repositories/test', body), 400);
    assert.equal(await refusal({ type: 's3', config: {} }), 'Unsupported repository type: s3');
    assert.match(await refusal({ type: 'cifs', config: { server: 's' } }), /^cifs repositories are not supported yet/);
    assert.match(await refusal({ type: 'local', config: { path: 'x' } }), /absolute/);
    assert.match(await refusal({ type: 'local' }), /config is required/);
  });
});

describe('POST /repositories/{id}/test', () => {
  test('tries the stored directory', async () => {
    const { id } = await add('stored');
    const good = await hub.call(`POST /repositories/${id}/test`);
    assert.equal((good.body.storage_info as Info).repository_id, id);
    await rm(join(hub.root, 'stored'), { recursive: true });
    await writeFile(join(hub.root, 'stored'), 'now a file');
    const bad = await hub.call(`POST /repositories/${id}/test`);
    assert.deepEqual([bad.status, bad.body.success], [200, false]);
  });

  test('answers 404 for an unknown one', async () =>
    assert.equal(errorOf(await hub.call('POST /repositories/repo-local-1/test'), 404), 'Repository not found'));
});

describe('measurements', () => {
  const persisted = (id: string) =>
    hub.stores.database.readModel
      .selectFrom('backup_repositories')
      .select(['total_bytes', 'last_check_at'])
      .where('repository_id', '=', id)
      .executeTakeFirst();

  test('of one are fresh, bare and kept', async () => {
    const { id } = await add('measured');
    const before = await persisted(id);
    const { status, body } = await hub.call(`GET /repositories/${id}/storage`);
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(body), [
      ...['repository_id', 'total_bytes', 'used_bytes', 'available_bytes', 'used_percent', 'backup_count'],
      ...['mount_point', 'last_check_at'],
    ]);
    const after = await persisted(id);
    assert.equal(after?.total_bytes, body.total_bytes);
    assert.ok(String(after?.last_check_at) > String(before?.last_check_at));
  });

  test('of one answer 404 when it is unknown and 503 when it cannot be reached', async () => {
    const { id } = await add('unreachable');
    await rm(join(hub.root, 'unreachable'), { recursive: true });
    assert.match(errorOf(await hub.call(`GET /repositories/${id}/storage`), 503), /unreachable/);
    assert.equal(errorOf(await hub.call('GET /repositories/repo-local-1/storage'), 404), 'Repository not found');
  });

  test('of all keep what they could get and tell what they could not', async () => {
    const { id: good } = await add('refreshed');
    const { id: bad } = await add('not-refreshed');
    await rm(join(hub.root, 'not-refreshed'), { recursive: true });
    const before = await persisted(good);
    const { status, body } = await hub.call('POST /repositories/refresh-storage');
    assert.equal(status, 200);
    const { results, refreshed_count, failed_count, message, success } = body as {
      results: (Info & Record<'storage_info', Info>)[];
      refreshed_count: number;
      failed_count: number;
      message: string;
      success: boolean;
    };
    assert.equal(success, true);
    assert.equal(refreshed_count + failed_count, (await list()).length);
    assert.equal(message, `Storage information refreshed for ${refreshed_count} repositories`);
    const ok = results.find(({ id }) => id === good);
    assert.deepEqual([ok?.name, ok?.success, ok?.storage_info.repository_id], ['refreshed', true, good]);
    const failed = results.find(({ id }) => id === bad);
    assert.deepEqual([failed?.success, typeof failed?.error, failed?.storage_info], [false, 'string', undefined]);
    assert.ok(String((await persisted(good))?.last_check_at) > String(before?.last_check_at));
  });
});

describe('DELETE /repositories/{id}', () => {
  test('removes it from the list, never its files', async () => {
    const { id } = await add('removed');
    await writeFile(join(hub.root, 'removed', 'image'), 'data');
    const { status, body } = await hub.call(`DELETE /repositories/${id}`);
    assert.deepEqual([status, body], [200, { success: true, message: 'Repository deleted successfully', id }]);
    assert.equal(await listed(id), undefined);
    assert.deepEqual(await readdir(join(hub.root, 'removed')), ['image']);
    assert.equal(errorOf(await hub.call(`DELETE /repositories/${id}`), 404), 'Repository not found');
    await add('removed');
  });

  test('answers 409 with the number of backups while it holds some', async () => {
    const { id: repositoryId } = await add('kept');
    await recordBackup(hub.stores.database, { backupId: 'backup-kept-1', repositoryId, status: 'completed' });
    await recordBackup(hub.stores.database, { backupId: 'backup-kept-2', repositoryId, status: 'failed' });
    const { status, body } = await hub.call(`DELETE /repositories/${repositoryId}`);
    assert.equal(status, 409);
    assert.deepEqual(body, {
      ...{ success: false, error: 'Cannot delete repository with existing backups', backup_count: 1 },
    });
    assert.ok(await listed(repositoryId));
    await hub.caughtUp();
    assert.deepEqual(await hub.repositories.removing(), []);
  });
});
