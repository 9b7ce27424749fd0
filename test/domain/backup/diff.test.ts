import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { backupDecider } from '#domain/backup/decide.ts';
import { diffOf } from '#domain/backup/diff.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { fold } from '#domain/decider.ts';
import { changeIds, facts, histories } from '../../support/backup-facts.ts';

const after = (...events: readonly BackupEvent[]) => fold(backupDecider, events);

describe('what changed in a job', () => {
  test('is nothing between equal moments', () => {
    assert.deepEqual(diffOf(after(...histories.running), after(...histories.running)), []);
    assert.deepEqual(diffOf(after(), after()), []);
  });

  test('is told field by field, the job first, then each disk by itself', () => {
    const changes = diffOf(
      after(...histories.running),
      after(...histories.running, facts.stalled(), facts.changeId(1)),
    );
    assert.deepEqual(changes, [
      { diskIndex: null, field: 'status', before: 'running', after: 'stalled' },
      { diskIndex: 1, field: 'transferred', before: false, after: true },
      { diskIndex: 1, field: 'changeId', before: null, after: changeIds[1] },
    ]);
  });

  test('begins at nothing for a job that was not there yet, and leaves out what is still empty', () => {
    const changes = diffOf(after(), after(...histories.running.slice(0, 1)));
    assert.ok(changes.every(({ before }) => before === null));
    assert.deepEqual([...new Set(changes.map(({ diskIndex }) => diskIndex))], [null, 0, 1]);
    assert.ok(!changes.some(({ field }) => field === 'failureReason'));
  });

  test('tells why a job failed', () => {
    const changes = diffOf(
      after(...histories.running),
      after(...histories.running, facts.failed('client', 'no space')),
    );
    assert.deepEqual(
      changes.map(({ field, after: value }) => [field, value]),
      [
        ['status', 'failed'],
        ['failureKind', 'client'],
        ['failureReason', 'no space'],
      ],
    );
  });
});
