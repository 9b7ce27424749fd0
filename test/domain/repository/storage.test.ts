import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RepositoryStorageEvent, repositoryStorageDecider, usedPercentOf } from '#domain/repository/storage.ts';
import { given } from '../../support/given.ts';

const measured = (usedBytes: number, at: string) => ({
  ...{ repositoryId: 'repo-local-1', totalBytes: 100, usedBytes, availableBytes: 100 - usedBytes, at },
});
const recorded = (...[usedBytes, at]: Parameters<typeof measured>): RepositoryStorageEvent => ({
  type: 'RepositoryStorageMeasured',
  data: measured(usedBytes, at),
});

test('every measurement is recorded, also one that finds nothing new: it tells that somebody looked', () => {
  const first = recorded(5, '2026-01-01T00:00:00.000Z');
  const second = recorded(5, '2026-01-01T00:00:01.000Z');
  given(repositoryStorageDecider, first).when({ type: 'RecordMeasurement', data: second.data }).thenEvents(second);
  assert.deepEqual(given(repositoryStorageDecider, first, second).state, { newest: second.data });
});

test('the used percentage has one decimal and stays within 0 and 100', () => {
  const space = (totalBytes: number, usedBytes: number) => ({ totalBytes, usedBytes, availableBytes: 0 });
  assert.equal(usedPercentOf(space(527_295_578_112, 30_064_771_072)), 5.7);
  assert.equal(usedPercentOf(space(3, 3)), 100);
  assert.equal(usedPercentOf(space(3, 4)), 100);
  assert.equal(usedPercentOf(space(0, 0)), 0);
});
