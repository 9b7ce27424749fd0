import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import { diskRestoreDecider } from '#domain/disk-restore/disk-restore.ts';
import { type DiskRestoreEvent, diskRestoreEventVersions } from '#domain/disk-restore/events.ts';
import { createUpcaster } from '#domain/event-versions.ts';
import { at } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

const restoreId = 'restore-1';
const of = { restoreId, at: at() };

const requested = {
  type: 'DiskRestoreRequested',
  data: {
    ...{ ...of, backupId: 'backup-1', vmName: 'pgtest1', diskIndex: 0, imagePath: '/r/0.qcow2', sizeBytes: 1024 },
    ...{ target: { type: 'image', path: '/out/0.raw', format: 'raw', overwrite: false }, verify: false },
  },
} as const satisfies DiskRestoreEvent;
const started = (attempt: number) => ({ type: 'DiskRestoreStarted', data: { ...of, attempt } }) as const;
const progressed = (percent: number, phase: 'copying' | 'verifying' = 'copying') =>
  ({ type: 'DiskRestoreProgressed', data: { ...of, phase, percent } }) as const;
const copied = { type: 'DiskRestoreCopied', data: { ...of, file: '1:2', verified: false } } as const;
const completed = { type: 'DiskRestoreCompleted', data: of } as const;
const failed = { type: 'DiskRestoreFailed', data: { ...of, kind: 'target', reason: 'full' } } as const;
const cancelAsked = { type: 'DiskRestoreCancelRequested', data: of } as const;
const cancelled = { type: 'DiskRestoreCancelled', data: of } as const;

const request = { type: 'RequestDiskRestore', data: requested.data } as const;
const start = { type: 'RecordStart', data: of } as const;
const progress = (percent: number, phase: 'copying' | 'verifying' = 'copying') =>
  ({ type: 'RecordProgress', data: progressed(percent, phase).data }) as const;
const copy = { type: 'RecordCopy', data: copied.data } as const;
const complete = { type: 'CompleteDiskRestore', data: of } as const;
const fail = { type: 'FailDiskRestore', data: failed.data } as const;
const askCancel = { type: 'RequestCancel', data: of } as const;
const cancel = { type: 'RecordCancel', data: of } as const;

const when = (...history: readonly DiskRestoreEvent[]) => given(diskRestoreDecider, ...history);

describe('a restore of a disk', () => {
  test('is asked for once', () => {
    when().when(request).thenEvents(requested);
    when(requested).when(request).thenNothing();
  });
  test('counts how often its copy began', () => {
    when(requested).when(start).thenEvents(started(1));
    when(requested, started(1)).when(start).thenEvents(started(2));
    when(requested, started(1), copied).when(start).thenNothing();
  });
  test('tells its progress in steps of 10 %, never backwards', () => {
    when(requested, started(1)).when(progress(9.9)).thenNothing();
    when(requested, started(1)).when(progress(37.2)).thenEvents(progressed(30));
    when(requested, started(1), progressed(30)).when(progress(39)).thenNothing();
    when(requested, started(1), progressed(90)).when(progress(0, 'verifying')).thenEvents(progressed(0, 'verifying'));
    when(requested, started(1), progressed(10, 'verifying')).when(progress(100)).thenNothing();
    when(requested, started(1), progressed(90), started(2)).when(progress(10)).thenEvents(progressed(10));
    when(requested).when(progress(50)).thenNothing();
  });
  test('completes once everything is there', () => {
    when(requested, started(1)).when(complete).thenNothing();
    when(requested, started(1)).when(copy).thenEvents(copied);
    when(requested, started(1), copied).when(complete).thenEvents(completed);
    when(requested, started(1), copied, completed).when(complete).thenNothing();
  });
  test('fails at any time before its end', () => {
    for (const history of [[], [started(1)], [started(1), copied]] as const)
      when(requested, ...history)
        .when(fail)
        .thenEvents(failed);
    for (const end of [completed, failed, cancelled]) when(requested, started(1), copied, end).when(fail).thenNothing();
  });
  test('is cancelled until everything is there', () => {
    when(requested).when(askCancel).thenEvents(cancelAsked);
    when(requested, started(1)).when(askCancel).thenEvents(cancelAsked);
    when(requested, started(1), cancelAsked).when(askCancel).thenNothing();
    when(requested, started(1), cancelAsked).when(copy).thenNothing();
    when(requested, started(1), cancelAsked).when(cancel).thenEvents(cancelled);
    when(requested, started(1), cancelAsked, cancelled).when(askCancel).thenNothing();
    when(requested, started(1), copied).when(askCancel).thenRefused('disk-restore-ended');
    when(requested, started(1), failed).when(askCancel).thenRefused('disk-restore-ended');
    when().when(askCancel).thenRefused('disk-restore-not-found');
    when(requested, started(1)).when(cancel).thenNothing();
  });
});

describe('stored events of restores', () => {
  const folder = join(import.meta.dirname, 'stored');
  const upcast = createUpcaster(diskRestoreEventVersions, {});
  const read = async (type: string): Promise<DiskRestoreEvent> => {
    const stored = JSON.parse(await readFile(join(folder, `${type}.v1.json`), 'utf8'));
    return { type: stored.type, data: upcast(stored.type, stored.v, stored.data) } as DiskRestoreEvent;
  };

  test('of every type are kept', async () => {
    const expected = Object.keys(diskRestoreEventVersions).map((type) => `${type}.v1.json`);
    assert.deepEqual((await readdir(folder)).sort(), expected.sort());
  });

  test('still tell what a hub has to go on with', async () => {
    const types = ['Requested', 'Started', 'Progressed', 'Copied'].map((name) => `DiskRestore${name}`);
    const state = fold(diskRestoreDecider, await Promise.all(types.map(read)));
    assert.ok(state.status === 'copied');
    assert.deepEqual(
      [state.attempts, state.file, state.target, state.verify],
      [1, '2049:131077', { type: 'image', path: '/srv/restored/pgtest1.raw', format: 'raw', overwrite: false }, true],
    );
    const failure = fold(diskRestoreDecider, await Promise.all([...types, 'DiskRestoreFailed'].map(read)));
    assert.ok(failure.status === 'failed');
    assert.match(failure.failure?.reason ?? '', /No space/);
    const ends = ['DiskRestoreCompleted', 'DiskRestoreCancelRequested', 'DiskRestoreCancelled'];
    assert.equal(fold(diskRestoreDecider, await Promise.all([...types, ...ends].map(read))).status, 'cancelled');
  });
});
