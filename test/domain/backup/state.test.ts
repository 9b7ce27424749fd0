import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { backupDecider } from '#domain/backup/decide.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { evolve, initialState, isFinalising, isRunning } from '#domain/backup/state.ts';
import { fold } from '#domain/decider.ts';
import { facts, histories } from '../../support/backup-facts.ts';

const after = (...events: readonly BackupEvent[]) => fold(backupDecider, events);

describe('the state of a backup', () => {
  test('an event without a start leaves nothing', () => {
    for (const event of histories.completed.slice(1)) assert.deepEqual(evolve(initialState, event), initialState);
  });

  test('data is all in when every disk has arrived, by telemetry or by change id', () => {
    assert.equal(isFinalising(after(...histories.running, facts.transferred(0))), false);
    assert.equal(isFinalising(after(...histories.running, facts.transferred(0), facts.changeId(1))), true);
    assert.equal(isFinalising(after(...histories.running, facts.changeId(1), facts.changeId(0))), true);
    assert.equal(isFinalising(after(...histories.completed)), false);
  });

  test('running and stalled backups run', () => {
    for (const history of [histories.running, histories.stalled]) assert.equal(isRunning(after(...history)), true);
    for (const history of [histories.completed, histories.failed]) assert.equal(isRunning(after(...history)), false);
    assert.equal(isRunning(initialState), false);
  });

  test('ports may be held until they are given back, also when their assignment was never recorded', () => {
    const state = after(...histories.running.slice(0, 1), facts.failed());
    assert.equal(state.status !== 'none' && state.portsHeld, true);
    const freed = after(...histories.running, facts.portsReleased());
    assert.deepEqual(freed.status !== 'none' && [freed.portsHeld, freed.disks.map(({ port }) => port)], [
      false,
      [null, null],
    ]);
  });

  test('what happens to one disk leaves the other alone', () => {
    const state = after(
      ...histories.running,
      facts.portLost(1, 10101),
      facts.exportStopped(1, 'not-running'),
      facts.transferred(1, 5),
    );
    assert.deepEqual(
      state.status !== 'none' &&
        state.disks.map(({ port, export: serving, transferred }) => [port, serving, transferred]),
      [
        [10100, 'running', false],
        [null, 'unclean', true],
      ],
    );
  });
});
