import assert from 'node:assert/strict';
import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createAddRepository } from '#commands/add-repository.ts';
import { claimName } from '#commands/claim-name.ts';
import { DomainError, type ErrorCode } from '#domain/errors.ts';
import type { RepositoryAdded } from '#domain/repository/repository.ts';
import { streamOf } from '#domain/streams.ts';
import { contextOf, never, repositoryWorld, tempFolder, wanted } from './repository-world.ts';

const refusedWith =
  (code: ErrorCode, text?: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof DomainError, String(error));
    assert.equal(error.code, code);
    if (text) assert.match(error.message, text);
    return true;
  };

const firstId = 'repo-local-1767323045';

describe('adding a repository', () => {
  test('makes the directory, leaves nothing in it, and records what it found', async (t) => {
    const world = await repositoryWorld(t);
    const path = join(await tempFolder(t), 'a', 'b');
    const { repository } = await world.add(wanted('Primary', `${path}/`));
    assert.equal((await stat(path)).mode & 0o777, 0o755);
    assert.deepEqual(await readdir(path), []);
    assert.deepEqual(repository, {
      ...{ status: 'active', repositoryId: firstId, name: 'Primary', type: 'local', enabled: true, path },
      config: { path, autoMount: false, mountOptions: '', description: '' },
      ...{ storageNode: 'hub-1', addedAt: world.time.now, removalBegunAt: null },
    });
    const { events } = await world.store.read<RepositoryAdded>(streamOf.repository(firstId));
    assert.equal(events.length, 1);
    for (const { event } of events) {
      const { totalBytes, usedBytes, availableBytes } = event.data.storage;
      assert.ok(availableBytes > 0);
      assert.equal(totalBytes - availableBytes, usedBytes);
    }
  });

  test('gives the next free second as id', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    const ids: string[] = [];
    for (const name of ['a', 'b', 'c'])
      ids.push((await world.add(wanted(name, join(root, name)))).repository.repositoryId);
    assert.deepEqual(ids, [firstId, 'repo-local-1767323046', 'repo-local-1767323047']);
  });

  test('at the same moment gives different ids', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    const added = await Promise.all(['a', 'b', 'c'].map((name) => world.add(wanted(name, join(root, name)))));
    assert.equal(new Set(added.map(({ repository }) => repository.repositoryId)).size, 3);
  });

  test('is refused for a name that is in use, before a directory is made', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    await world.add(wanted('Primary', join(root, 'a')));
    await assert.rejects(world.add(wanted(' Primary ', join(root, 'b'))), refusedWith('name-taken', /"Primary"/));
    assert.deepEqual(await readdir(root), ['a']);
  });

  test('of one name or directory at the same moment succeeds once', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    const sameName = await Promise.allSettled(
      ['a', 'b', 'c'].map((path) => world.add(wanted('Same', join(root, path)))),
    );
    assert.equal(sameName.filter(({ status }) => status === 'fulfilled').length, 1);
    const nested = ['x', 'x/y', 'x/y/z'].map((path) => world.add(wanted(path, join(root, path))));
    const settled = await Promise.allSettled(nested);
    assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1);
  });

  test('is refused for a directory that is, holds, or lies in that of another, whatever links lead there', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    const path = join(root, 'own', 'backups');
    await world.add(wanted('Primary', path));
    await symlink(join(root, 'own'), join(root, 'link'));
    for (const other of [path, join(path, 'deeper'), join(root, 'own'), join(root, 'link', 'backups', 'new')]) {
      await assert.rejects(world.add(wanted('Other', other)), refusedWith('repository-path-taken', /"Primary"/));
    }
    assert.deepEqual(await readdir(path), []);
    await world.add(wanted('Other', join(root, 'own', 'backups2')));
  });

  test('is refused for a directory that cannot be used, and leaves the name free', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    await writeFile(join(root, 'file'), '');
    await assert.rejects(world.add(wanted('Primary', join(root, 'file'))), refusedWith('repository-unusable'));
    assert.deepEqual(await world.typesIn(streamOf.repository(firstId)), []);
    assert.deepEqual(await world.typesIn(streamOf.claim('repositoryName', 'Primary')), []);
    await world.add(wanted('Primary', join(root, 'folder')));
  });

  test('is refused where no directory can be made, with the reason', async (t) => {
    const world = await repositoryWorld(t);
    await assert.rejects(
      world.add(wanted('Primary', '/proc/sendense')),
      refusedWith('repository-unusable', /\/proc\/sendense/),
    );
  });

  test('is refused before anything is touched when the request makes no sense', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    const path = join(root, 'a');
    const immutability = { isImmutable: true, minRetentionDays: 0, hasImmutableConfig: false };
    await assert.rejects(world.add(wanted('', path)), refusedWith('invalid-request'));
    await assert.rejects(world.add(wanted('a', path, { type: 's3' })), refusedWith('repository-type-unsupported'));
    await assert.rejects(world.add(wanted('a', path, { type: 'nfs' })), refusedWith('repository-option-unsupported'));
    await assert.rejects(world.add(wanted('a', path, { immutability })), refusedWith('repository-option-unsupported'));
    await assert.rejects(world.add(wanted('a', 'a')), refusedWith('invalid-request'));
    assert.deepEqual(await readdir(root), []);
  });

  test('frees the name when the directory was taken between the look and the claim', async (t) => {
    const root = await tempFolder(t);
    const path = join(root, 'a');
    const world = await repositoryWorld(t, {
      test: async () => {
        if (first) {
          first = false;
          await world.add(wanted('Winner', path));
        }
        return { totalBytes: 1, usedBytes: 0, availableBytes: 1, writable: true };
      },
    });
    let first = true;
    await assert.rejects(world.add(wanted('Loser', path)), refusedWith('repository-path-taken', /"Winner"/));
    await world.add(wanted('Loser', join(root, 'b')));
  });
});

describe('what a hub that died left of an addition', () => {
  test('keeps name and directory while it may still go on, and no longer', async (t) => {
    const world = await repositoryWorld(t);
    const path = join(await tempFolder(t), 'a');
    const holder = 'repo-local-1767323000';
    const holderLives = async () => true;
    await claimName(world.deps, { kind: 'repositoryName', name: 'Primary', holder, holderLives }, contextOf());
    const root = { repositoryId: holder, name: 'Primary', realPath: path, at: world.time.now };
    await world.store.append(
      streamOf.repositoryRoots('hub-1'),
      [{ type: 'RepositoryRootClaimed', data: root }],
      -1n,
      contextOf(),
    );
    await assert.rejects(world.add(wanted('Primary', `${path}/other`)), refusedWith('name-taken'));
    await assert.rejects(world.add(wanted('Other', path)), refusedWith('repository-path-taken'));
    world.time.now = '2026-01-02T03:04:36.000Z';
    const { repository } = await world.add(wanted('Primary', path));
    assert.equal(repository.name, 'Primary');
  });
});

describe('a repeated request with an Idempotency-Key', () => {
  const request = { operation: 'add-repository', requestSha256: 'one' };

  test('gets the repository that the first one made, even when its directory has gone', async (t) => {
    let usable = true;
    const world = await repositoryWorld(t, {
      test: async () => {
        if (!usable) throw new Error('gone');
        return { totalBytes: 1, usedBytes: 0, availableBytes: 1, writable: true };
      },
    });
    const input = wanted('Primary', join(await tempFolder(t), 'a'));
    const first = await world.addRepository(input, contextOf('key'), request, never);
    usable = false;
    world.time.now = '2026-01-02T04:00:00.000Z';
    const second = await world.addRepository(input, contextOf('key'), request, never);
    assert.deepEqual(second, { repository: first.repository, position: undefined });
  });

  test('at the same moment makes one repository', async (t) => {
    const world = await repositoryWorld(t);
    const input = wanted('Primary', join(await tempFolder(t), 'a'));
    const added = await Promise.all([1, 2, 3].map(() => world.addRepository(input, contextOf('key'), request, never)));
    assert.equal(new Set(added.map(({ repository }) => repository.repositoryId)).size, 1);
  });

  test('in the same moment makes one repository, also when the clock moves on between them', async (t) => {
    const world = await repositoryWorld(t);
    const input = wanted('Primary', join(await tempFolder(t), 'a'));
    let ms = Date.parse('2026-01-02T03:04:05.000Z');
    const clock = {
      now: () => {
        ms += 1_000;
        return new Date(ms).toISOString();
      },
    };
    const add = createAddRepository({ ...world.deps, clock });
    const added = await Promise.all([1, 2, 3].map(() => add(input, contextOf('key'), request, never)));
    assert.equal(new Set(added.map(({ repository }) => repository.repositoryId)).size, 1);
  });

  test('goes on after the directory was made usable', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    await symlink(join(root, 'missing', 'target'), join(root, 'a'));
    const input = wanted('Primary', join(root, 'a'));
    const attempt = () => world.addRepository(input, contextOf('key'), request, never);
    await assert.rejects(attempt(), refusedWith('repository-unusable'));
    await mkdir(join(root, 'missing', 'target'), { recursive: true });
    assert.equal((await attempt()).repository.name, 'Primary');
  });

  test('is refused for another request', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    await world.addRepository(wanted('a', join(root, 'a')), contextOf('key'), request, never);
    const other = { ...request, requestSha256: 'two' };
    await assert.rejects(
      world.addRepository(wanted('b', join(root, 'b')), contextOf('key'), other, never),
      refusedWith('idempotency-key-reused'),
    );
  });
});
