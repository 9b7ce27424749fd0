import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BackupEvent } from '#domain/backup/events.ts';
import { backupStarted, facts, gib, histories } from '../../support/backup-facts.ts';
import {
  close,
  complete,
  fail,
  failRemoval,
  finishRemoval,
  first,
  job,
  open,
  record,
  recorded,
  ref,
  requestRemoval,
  second,
} from './commands.ts';

describe('a change id', () => {
  test('is kept on its own disk', () => {
    job(...histories.running)
      .when(record(1, second))
      .thenEvents(recorded(1, second));
    const { state } = job(...histories.running, facts.changeId(1));
    assert.deepEqual(state.status !== 'none' && state.disks.map(({ changeId }) => changeId), [null, second]);
  });
  test('of a disk beyond the last is refused', () =>
    void job(...histories.running)
      .when(record(2, first))
      .thenRefused('backup-disk-not-found'));
  test('sent again changes nothing, in every state', () => {
    for (const history of [histories.running, histories.stalled])
      job(...history, facts.changeId(0))
        .when(record(0, first))
        .thenNothing();
    job(...histories.completed)
      .when(record(1, second))
      .thenNothing();
  });
  test('wakes a stalled backup', () =>
    job(...histories.stalled)
      .when(record(0, first))
      .thenEvents(facts.resumed(100), recorded(0, first)));
  test('of 0 bytes leaves what telemetry told', () => {
    job(...histories.running, facts.transferred(0, 7 * gib))
      .when(record(0, first))
      .thenEvents(recorded(0, first, 7 * gib));
    job(...histories.running, facts.transferred(0, 7 * gib))
      .when(record(0, first, 9))
      .thenEvents(recorded(0, first, 9));
  });
  test('of a failed backup is refused', () =>
    void job(...histories.failed)
      .when(record(0, first))
      .thenRefused('backup-ended'));
  test('of a deleted backup is refused', () =>
    void job(...histories.removed)
      .when(record(0, first))
      .thenRefused('backup-not-found'));

  describe('of a client that says 0 for every disk', () => {
    const oneIn = [...histories.running, facts.changeId(0)];
    test('goes to the lowest open disk', () =>
      job(...oneIn)
        .when(record(0, second))
        .thenEvents(recorded(1, second)));
    test('goes there too when telemetry alone has completed the backup', () => {
      const byTelemetry = [
        ...histories.running,
        facts.changeId(0),
        facts.transferred(1),
        facts.exportStopped(0),
        facts.exportStopped(1),
        facts.portsReleased(),
        facts.completed(),
      ];
      job(...byTelemetry)
        .when(record(0, second))
        .thenEvents(recorded(1, second));
      job(...byTelemetry, facts.closed())
        .when(record(0, second))
        .thenEvents(recorded(1, second));
    });
    test('sent twice stays where it was put, although a third disk is open', () => {
      const disks = [0, 1, 2].map((index) => ({ ...backupStarted().data.disks[0], index, key: 2000 + index }));
      const three = backupStarted({ disks: disks as never });
      job(three, facts.changeId(0), facts.changeId(1)).when(record(0, second)).thenNothing();
      job(three, facts.changeId(0), facts.changeId(1)).when(record(0, 'other/3')).thenEvents(recorded(2, 'other/3'));
    });
    test('conflicts when no disk is open', () => {
      job(...oneIn, facts.changeId(1))
        .when(record(0, 'other/3'))
        .thenRefused('change-id-conflict');
      job(...histories.completed)
        .when(record(1, 'other/3'))
        .thenRefused('change-id-conflict');
    });
  });

  test('after the end opens the job again for what lies beside the images', () => {
    const late = job(
      ...histories.running,
      facts.changeId(0),
      facts.transferred(1),
      facts.completed(),
      facts.closed(),
      facts.changeId(1),
    );
    assert.equal(late.state.status !== 'none' && late.state.closed, false);
    late.when(close).thenEvents({ type: 'BackupClosed', data: { ...ref, performance: null } });
  });
});

describe('a backup ends', () => {
  for (const [state, history] of Object.entries(open)) {
    test(`completed, when it was ${state}`, () =>
      job(...history)
        .when(complete)
        .thenEvents(facts.completed()));
    test(`failed, when it was ${state}`, () =>
      job(...history)
        .when(fail)
        .thenEvents({ type: 'BackupFailed', data: { ...ref, kind: 'client', reason: 'no space', facts: {} } }));
  }
  test('and is closed once', () => {
    job(...histories.running, facts.failed())
      .when(close)
      .thenEvents({ type: 'BackupClosed', data: { ...ref, performance: null } });
    for (const history of [histories.running, histories.stalled, histories.completed, histories.failed])
      job(...history)
        .when(close)
        .thenNothing();
  });
  test('the reason of a failure is kept for who asked for the backup', () => {
    const { state } = job(...histories.running, facts.failed('node-refused', 'it said 500'));
    assert.deepEqual(state.status !== 'none' && state.failure, {
      kind: 'node-refused',
      reason: 'it said 500',
      facts: {},
    });
  });
});

describe('a deletion', () => {
  test('is refused while the backup runs', () => {
    for (const history of Object.values(open))
      job(...history)
        .when(requestRemoval)
        .thenRefused('backup-running');
  });
  test('is taken for every ended backup, also before everything of it is freed', () => {
    const requested: BackupEvent = { type: 'BackupRemovalRequested', data: ref };
    job(...histories.completed)
      .when(requestRemoval)
      .thenEvents(requested);
    job(...histories.failed)
      .when(requestRemoval)
      .thenEvents(requested);
    job(...histories.running, facts.failed())
      .when(requestRemoval)
      .thenEvents(requested);
  });
  test('is asked for once, and again after it has failed', () => {
    const asked = [...histories.completed, facts.removalRequested()];
    job(...asked)
      .when(requestRemoval)
      .thenNothing();
    job(...asked)
      .when(failRemoval)
      .thenEvents({ type: 'BackupRemovalFailed', data: { ...ref, reason: 'EACCES' } });
    job(...asked, facts.removalFailed())
      .when(requestRemoval)
      .thenEvents({ type: 'BackupRemovalRequested', data: ref });
  });
  test('ends only when it was asked for', () => {
    job(...histories.completed)
      .when(finishRemoval)
      .thenNothing();
    job(...histories.completed)
      .when(failRemoval)
      .thenNothing();
    job(...histories.completed, facts.removalRequested())
      .when(finishRemoval)
      .thenEvents({ type: 'BackupRemoved', data: ref });
  });
  test('leaves no backup behind', () => {
    job(...histories.removed)
      .when(requestRemoval)
      .thenRefused('backup-not-found');
    job(...histories.removed)
      .when(finishRemoval)
      .thenNothing();
  });
});
