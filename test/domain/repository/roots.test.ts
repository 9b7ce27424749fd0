import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type RepositoryRootsCommand,
  type RepositoryRootsEvent,
  repositoryRootsDecider,
} from '#domain/repository/roots.ts';
import { given } from '../../support/given.ts';

const at = '2026-01-01T00:00:00.000Z';

const claimed = (repositoryId: string, realPath: string): RepositoryRootsEvent => ({
  type: 'RepositoryRootClaimed',
  data: { repositoryId, name: `Name of ${repositoryId}`, realPath, at },
});
const released = (repositoryId: string): RepositoryRootsEvent => ({
  type: 'RepositoryRootReleased',
  data: { repositoryId, at },
});
const claim = (repositoryId: string, realPath: string, ...abandonedBy: string[]): RepositoryRootsCommand => ({
  type: 'ClaimRoot',
  data: { repositoryId, name: `Name of ${repositoryId}`, realPath, abandonedBy, at },
});
const release = (repositoryId: string): RepositoryRootsCommand => ({ type: 'ReleaseRoot', data: { repositoryId, at } });

const a = claimed('a', '/srv/a');
const b = claimed('b', '/srv/b');

describe('the directory of a repository', () => {
  test('is its own', () => given(repositoryRootsDecider, a).when(claim('b', '/srv/b')).thenEvents(b));
  test('is claimed once', () => given(repositoryRootsDecider, a, b).when(claim('a', '/srv/a')).thenNothing());

  for (const [path, relation] of [
    ['/srv/b', 'is already used by'],
    ['/srv/b/deep/er', 'lies inside'],
    ['/srv', 'contains'],
  ] as const) {
    test(`is refused when it ${relation} another's, which is named`, () => {
      const error = given(repositoryRootsDecider, b).when(claim('c', path)).thenRefused('repository-path-taken');
      assert.equal(error.message, `${path} ${relation} the repository "Name of b" (/srv/b); choose another directory`);
      assert.deepEqual(error.details, { repositoryId: 'b', name: 'Name of b', path: '/srv/b' });
    });
  }
  test('may begin with the same letters as another', () =>
    given(repositoryRootsDecider, a).when(claim('c', '/srv/ab')).thenEvents(claimed('c', '/srv/ab')));

  test('is free again when it was released', () =>
    given(repositoryRootsDecider, a, b, released('b')).when(claim('c', '/srv/b')).thenEvents(claimed('c', '/srv/b')));
  test('is released once, and by its holder', () => {
    given(repositoryRootsDecider, a, b).when(release('b')).thenEvents(released('b'));
    given(repositoryRootsDecider, a, b, released('b')).when(release('b')).thenNothing();
  });

  test('goes over from all that abandoned it', () =>
    given(repositoryRootsDecider, a, b)
      .when(claim('c', '/srv', 'a', 'b'))
      .thenEvents(released('a'), released('b'), claimed('c', '/srv')));
  test('does not go over while one of them lives', () => {
    given(repositoryRootsDecider, a, b)
      .when(claim('c', '/srv', 'a'))
      .thenRefused('repository-path-taken');
  });
  test('follows a link that moved between two attempts', () =>
    given(repositoryRootsDecider, a, b).when(claim('b', '/mnt/b')).thenEvents(released('b'), claimed('b', '/mnt/b')));
});
