import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { handle, load } from '#commands/handle.ts';
import { StoreUnavailable } from '#commands/ports.ts';
import { createRemoveRepository } from '#commands/remove-repository.ts';
import { DomainError } from '#domain/errors.ts';
import { repositoryDecider } from '#domain/repository/repository.ts';
import { streamOf } from '#domain/streams.ts';
import { contextOf, repositoryWorld, tempFolder, wanted } from './repository-world.ts';

const refusedWith = (code: string, backupCount?: number) => (error: unknown) =>
  error instanceof DomainError && error.code === code && error.details.backupCount === backupCount;

describe('removing a repository', () => {
  test('leaves its files, and frees its name and directory', async (t) => {
    const world = await repositoryWorld(t);
    const path = join(await tempFolder(t), 'a');
    const { repository } = await world.add(wanted('Primary', path));
    await writeFile(join(path, 'precious'), 'data');
    const { position } = await world.removal.remove(repository.repositoryId, contextOf());
    assert.ok(position !== undefined);
    assert.equal(await readFile(join(path, 'precious'), 'utf8'), 'data');
    assert.deepEqual(await world.typesIn(streamOf.claim('repositoryName', 'Primary')), ['NameClaimed', 'NameReleased']);
    assert.deepEqual(await world.typesIn(streamOf.repositoryRoots('hub-1')), [
      ...['RepositoryRootClaimed', 'RepositoryRootReleased'],
    ]);
    const again = await world.add(wanted('Primary', path));
    assert.notEqual(again.repository.repositoryId, repository.repositoryId);
  });

  test('is refused for an unknown and for a removed one', async (t) => {
    const world = await repositoryWorld(t);
    const { repository } = await world.add(wanted('Primary', join(await tempFolder(t), 'a')));
    await world.removal.remove(repository.repositoryId, contextOf());
    for (const id of [repository.repositoryId, 'repo-local-1']) {
      await assert.rejects(world.removal.remove(id, contextOf()), refusedWith('repository-not-found'));
    }
  });

  test('is refused while it holds backups, and lets it take backups again', async (t) => {
    const world = await repositoryWorld(t);
    const { repository } = await world.add(wanted('Primary', join(await tempFolder(t), 'a')));
    const stream = streamOf.repository(repository.repositoryId);
    world.facts.backups = 42;
    await assert.rejects(
      world.removal.remove(repository.repositoryId, contextOf()),
      refusedWith('repository-has-backups', 42),
    );
    assert.equal((await load(world.store, repositoryDecider, stream)).state.status, 'active');
    world.facts.backups = 0;
    await world.removal.remove(repository.repositoryId, contextOf());
    assert.deepEqual(await world.typesIn(stream), [
      ...['RepositoryAdded', 'RepositoryRemovalBegun', 'RepositoryRemovalRefused'],
      ...['RepositoryRemovalBegun', 'RepositoryRemoved'],
    ]);
  });

  test('counts after new backups are kept out', async (t) => {
    const world = await repositoryWorld(t);
    const { repository } = await world.add(wanted('Primary', join(await tempFolder(t), 'a')));
    const stream = streamOf.repository(repository.repositoryId);
    const seen: string[] = [];
    const { remove } = createRemoveRepository({
      ...world.deps,
      directory: {
        ...world.deps.directory,
        caughtUp: async () => {
          seen.push(`caught up while ${(await load(world.store, repositoryDecider, stream)).state.status}`);
          return true;
        },
        countBackups: async () => {
          seen.push(`counted while ${(await load(world.store, repositoryDecider, stream)).state.status}`);
          return 0;
        },
      },
    });
    await remove(repository.repositoryId, contextOf());
    assert.deepEqual(seen, ['caught up while removing', 'counted while removing']);
  });

  test('does not trust a read model that lags, and goes on when asked again', async (t) => {
    const world = await repositoryWorld(t);
    const { repository } = await world.add(wanted('Primary', join(await tempFolder(t), 'a')));
    world.facts.caughtUp = false;
    await assert.rejects(world.removal.remove(repository.repositoryId, contextOf()), StoreUnavailable);
    world.facts.caughtUp = true;
    await world.removal.remove(repository.repositoryId, contextOf());
    assert.deepEqual(await world.typesIn(streamOf.repository(repository.repositoryId)), [
      ...['RepositoryAdded', 'RepositoryRemovalBegun', 'RepositoryRemoved'],
    ]);
  });

  test('asked for twice at once ends in one removal', async (t) => {
    const world = await repositoryWorld(t);
    const { repository } = await world.add(wanted('Primary', join(await tempFolder(t), 'a')));
    const outcomes = await Promise.allSettled(
      [1, 2, 3].map(() => world.removal.remove(repository.repositoryId, contextOf())),
    );
    assert.ok(outcomes.some(({ status }) => status === 'fulfilled'));
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.ok(refusedWith('repository-not-found')(outcome.reason));
    }
    assert.deepEqual(await world.typesIn(streamOf.repository(repository.repositoryId)), [
      ...['RepositoryAdded', 'RepositoryRemovalBegun', 'RepositoryRemoved'],
    ]);
  });
});

describe('a removal that a crash cut short', () => {
  for (const [backups, status] of [
    [0, 'removed'],
    [3, 'active'],
  ] as const) {
    test(`is settled at the next start: ${backups} backups leave it ${status}`, async (t) => {
      const world = await repositoryWorld(t);
      const { repository } = await world.add(wanted('Primary', join(await tempFolder(t), 'a')));
      const { repositoryId } = repository;
      const target = { decider: repositoryDecider, stream: streamOf.repository(repositoryId) };
      await handle(
        world.store,
        target,
        { type: 'BeginRemoval', data: { repositoryId, at: world.time.now } },
        contextOf(),
      );
      world.facts.backups = backups;
      world.removing.push('repo-local-gone', repositoryId);
      await world.removal.resume(contextOf());
      assert.equal((await load(world.store, repositoryDecider, target.stream)).state.status, status);
    });
  }
});
