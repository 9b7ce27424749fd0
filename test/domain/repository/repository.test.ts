import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RepositoryAdded, RepositoryCommand, RepositoryEvent } from '#domain/repository/repository.ts';
import { repositoryDecider } from '#domain/repository/repository.ts';
import { given } from '../../support/given.ts';

const repositoryId = 'repo-local-1760055634';
const at = '2026-01-01T00:00:00.000Z';
const later = '2026-01-01T00:00:01.000Z';
const muchLater = '2026-01-01T00:10:00.000Z';

const data: RepositoryAdded['data'] = {
  ...{ repositoryId, name: 'Primary', type: 'local', enabled: true, at, storageNode: 'hub-1' },
  config: { path: '/backup', autoMount: false, mountOptions: '', description: 'fast' },
  storage: { totalBytes: 100, usedBytes: 40, availableBytes: 60 },
};
const added: RepositoryEvent = { type: 'RepositoryAdded', data };
const begun: RepositoryEvent = { type: 'RepositoryRemovalBegun', data: { repositoryId, at: later } };
const refused: RepositoryEvent = {
  type: 'RepositoryRemovalRefused',
  data: { repositoryId, backupCount: 2, at: muchLater },
};
const removed: RepositoryEvent = { type: 'RepositoryRemoved', data: { repositoryId, at: muchLater } };

const add: RepositoryCommand = { type: 'AddRepository', data };
const begin: RepositoryCommand = { type: 'BeginRemoval', data: { repositoryId, at: later } };
const settle = (backupCount: number, begunAt: string | null = later): RepositoryCommand => ({
  type: 'SettleRemoval',
  data: { repositoryId, begunAt, backupCount, at: muchLater },
});

describe('adding a repository', () => {
  test('records it as it was asked for', () => given(repositoryDecider).when(add).thenEvents(added));
  test('is done once', () => given(repositoryDecider, added).when(add).thenNothing());
  test('does not stop a removal', () => given(repositoryDecider, added, begun).when(add).thenNothing());
  test('does not bring a removed one back', () => {
    given(repositoryDecider, added, begun, removed).when(add).thenRefused('repository-not-found');
  });

  test('makes a state that backups can be sent to', () => {
    const { state } = given(repositoryDecider, added);
    assert.deepEqual(state, {
      ...{ status: 'active', repositoryId, name: 'Primary', type: 'local', enabled: true, path: '/backup' },
      ...{ config: data.config, storageNode: 'hub-1', addedAt: at, removalBegunAt: null },
    });
  });
});

describe('removing a repository', () => {
  test('begins with no longer taking backups', () => {
    given(repositoryDecider, added).when(begin).thenEvents(begun);
    assert.equal(given(repositoryDecider, added, begun).state.status, 'removing');
  });
  test('begins once', () => given(repositoryDecider, added, begun).when(begin).thenNothing());
  test('of an unknown one is refused', () => {
    given(repositoryDecider).when(begin).thenRefused('repository-not-found');
  });
  test('of a removed one is refused', () => {
    given(repositoryDecider, added, begun, removed).when(begin).thenRefused('repository-not-found');
  });

  test('ends it when it holds no backup', () =>
    given(repositoryDecider, added, begun).when(settle(0)).thenEvents(removed));
  test('lets it take backups again when it holds some', () => {
    given(repositoryDecider, added, begun).when(settle(2)).thenEvents(refused);
    assert.equal(given(repositoryDecider, added, begun, refused).state.status, 'active');
  });
  test('is settled once', () => {
    given(repositoryDecider, added, begun, refused).when(settle(0)).thenNothing();
    given(repositoryDecider, added, begun, removed).when(settle(2)).thenNothing();
  });
  test('is not settled by what was counted for an earlier removal', () => {
    const again: RepositoryEvent = { type: 'RepositoryRemovalBegun', data: { repositoryId, at: muchLater } };
    given(repositoryDecider, added, begun, refused, again).when(settle(0)).thenNothing();
    given(repositoryDecider, added, begun, refused, again).when(settle(0, muchLater)).thenEvents(removed);
  });
  test('is not settled before it has begun', () => given(repositoryDecider, added).when(settle(0, null)).thenNothing());
  test('can be asked for again after it was refused', () =>
    given(repositoryDecider, added, begun, refused)
      .when({ type: 'BeginRemoval', data: { repositoryId, at: muchLater } })
      .thenEvents({ type: 'RepositoryRemovalBegun', data: { repositoryId, at: muchLater } }));
});
