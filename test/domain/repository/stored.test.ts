import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import { createUpcaster } from '#domain/event-versions.ts';
import { type RepositoryEvent, repositoryDecider, repositoryEventVersions } from '#domain/repository/repository.ts';
import {
  type RepositoryRootsEvent,
  repositoryRootsDecider,
  repositoryRootsEventVersions,
} from '#domain/repository/roots.ts';
import {
  type RepositoryStorageEvent,
  repositoryStorageDecider,
  repositoryStorageEventVersions,
} from '#domain/repository/storage.ts';

type Stored = Readonly<{ type: string; v: number; data: Readonly<Record<string, unknown>> }>;

const folder = join(import.meta.dirname, 'stored');
const versions = { ...repositoryEventVersions, ...repositoryRootsEventVersions, ...repositoryStorageEventVersions };
const upcast = createUpcaster(versions, {});

const read = async <E>(name: string): Promise<E> => {
  const { type, v, data }: Stored = JSON.parse(await readFile(join(folder, name), 'utf8'));
  return { type, data: upcast(type, v, data) } as E;
};

describe('stored events of repositories', () => {
  test('of every type and version are kept', async () => {
    const expected = Object.entries(versions).flatMap(([type, newest]) =>
      Array.from({ length: newest }, (_, index) => `${type}.v${index + 1}.json`),
    );
    assert.deepEqual((await readdir(folder)).sort(), expected.sort());
  });

  test('still tell a repository from its addition to its removal', async () => {
    const history = await Promise.all(
      ['RepositoryAdded', 'RepositoryRemovalBegun', 'RepositoryRemovalRefused'].map((type) =>
        read<RepositoryEvent>(`${type}.v1.json`),
      ),
    );
    const active = fold(repositoryDecider, history);
    assert.deepEqual(active, {
      ...{ status: 'active', repositoryId: 'repo-local-1760055634', name: 'Primary', type: 'local', enabled: true },
      ...{ path: '/backup/repository', storageNode: 'hub-1', removalBegunAt: null },
      config: { path: '/backup/repository', autoMount: false, mountOptions: 'rw,noatime', description: 'fast' },
      addedAt: '2025-10-10T00:20:34.120Z',
    });
    const removed = repositoryDecider.evolve(active, await read('RepositoryRemoved.v1.json'));
    assert.equal(removed.status, 'removed');
  });

  test('still tell whose a directory is', async () => {
    const claimed = fold(repositoryRootsDecider, [await read<RepositoryRootsEvent>('RepositoryRootClaimed.v1.json')]);
    assert.equal(claimed.roots[0]?.realPath, '/srv/disk1/repository');
    const freed = repositoryRootsDecider.evolve(claimed, await read('RepositoryRootReleased.v1.json'));
    assert.deepEqual(freed.roots, []);
  });

  test('still tell how full a repository is', async () => {
    const measured = await read<RepositoryStorageEvent>('RepositoryStorageMeasured.v1.json');
    assert.equal(fold(repositoryStorageDecider, [measured]).newest?.availableBytes, 497_230_807_040);
  });
});
