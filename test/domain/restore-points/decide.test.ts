import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import type { DomainError } from '#domain/errors.ts';
import {
  type AdmitBackup,
  chainOf,
  headOf,
  type RestorePointsCommand,
  restorePointsDecider,
} from '#domain/restore-points/decide.ts';
import type { ActiveBackup, RestorePoint, RestorePointsEvent } from '#domain/restore-points/events.ts';
import {
  at,
  backupId,
  imagePath,
  pointDisk,
  repositoryId,
  restorePoint,
  vmContextId,
} from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

const decider = restorePointsDecider(vmContextId);
const vm = (...history: readonly RestorePointsEvent[]) => given(decider, ...history);
const next = 'backup-pgtest1-1795317365';

const admit = (over: Partial<AdmitBackup['data']> = {}): AdmitBackup => ({
  type: 'AdmitBackup',
  data: {
    ...{ vmContextId, backupId: next, requestId: 'request-1', repositoryId, backupType: 'full' },
    ...{ newContextId: 'ctx-backup-new', diskIndexes: [0, 1], missingImages: [], at: at(3600) },
    ...over,
  },
});
const increment = (over: Partial<AdmitBackup['data']> = {}) => admit({ backupType: 'incremental', ...over });

const admitted = (over: Partial<ActiveBackup> = {}): RestorePointsEvent => ({
  type: 'BackupAdmitted',
  data: {
    vmContextId,
    active: {
      ...{ backupId: next, requestId: 'request-1', backupContextId: 'ctx-backup-new', repositoryId },
      ...{ type: 'full', parentBackupId: null, bases: [], admittedAt: at(3600) },
      ...over,
    },
  },
});

const added = (over: Partial<RestorePoint> = {}): RestorePointsEvent => ({
  type: 'RestorePointAdded',
  data: { vmContextId, point: restorePoint(over) },
});

const ref = (id: string) => ({ vmContextId, backupId: id, at: at(7200) });
const removalBegun = (id = backupId): RestorePointsEvent => ({ type: 'RestorePointRemovalBegun', data: ref(id) });
const removed = (id: string): RestorePointsEvent => ({ type: 'RestorePointRemoved', data: ref(id) });
const abandon = (id: string): RestorePointsCommand => ({ type: 'AbandonBackup', data: ref(id) });
const beginRemoval = (id: string): RestorePointsCommand => ({ type: 'BeginRemoval', data: ref(id) });

const second: Partial<RestorePoint> = {
  ...{ backupId: 'backup-pgtest1-2', type: 'incremental', parentBackupId: backupId },
  disks: [0, 1].map((index) => pointDisk(index, { imagePath: imagePath(index, '2'), changeId: `epoch-${index}/2` })),
};
const bases = second.disks ?? [];

describe('one backup of a VM at a time', () => {
  test('a full one needs nothing before it', () => vm().when(admit()).thenEvents(admitted()));
  test('its repeat is the same one', () => vm(admitted()).when(admit()).thenNothing());
  test('another is refused, and told which one runs', () => {
    const refusal = vm(admitted())
      .when(admit({ backupId: 'backup-pgtest1-3' }))
      .thenRefused('backup-already-running');
    assert.equal(refusal.details.backupId, next);
  });
  test('also into another repository', () => {
    vm(admitted())
      .when(admit({ backupId: 'b-3', repositoryId: 'repo-2' }))
      .thenRefused('backup-already-running');
  });
  test('two requests in one second propose one id, and only one of them gets it', () => {
    vm(admitted())
      .when(admit({ requestId: 'request-2' }))
      .thenRefused('backup-already-running');
  });
  test('the slot of a holder that is gone is taken over', () => {
    const other = { backupId: 'backup-pgtest1-3', requestId: 'request-3' };
    vm(admitted())
      .when(admit({ ...other, endedBackupId: next }))
      .thenEvents(admitted(other));
    vm(admitted())
      .when(admit({ ...other, endedBackupId: 'backup-older' }))
      .thenRefused('backup-already-running');
  });
  test('it gives the slot back once, and only its own', () => {
    vm(admitted())
      .when(abandon(next))
      .thenEvents({ type: 'BackupAbandoned', data: ref(next) });
    vm(admitted()).when(abandon('backup-older')).thenNothing();
    vm().when(abandon(next)).thenNothing();
    vm(admitted(), { type: 'BackupAbandoned', data: ref(next) })
      .when(admit())
      .thenEvents(admitted());
  });
  test('the end of one whose slot was taken over leaves the slot to the other', () => {
    const { state } = vm(admitted(), admitted({ backupId: 'b-3' }), added({ backupId: next }));
    assert.equal(state.active?.backupId, 'b-3');
    assert.deepEqual(
      state.points.map((point) => point.backupId),
      [next],
    );
    assert.equal(vm(admitted(), { type: 'BackupAbandoned', data: ref('older') }).state.active?.backupId, next);
  });
  test('each repository has a history of its own, for ever', () => {
    const done = [admitted({ backupContextId: 'ctx-1' }), added({ backupId: next })];
    vm(...done)
      .when(admit({ backupId: 'b-3' }))
      .thenEvents(admitted({ backupId: 'b-3', backupContextId: 'ctx-1' }));
    const elsewhere = { backupId: 'b-3', repositoryId: 'repo-2' };
    vm(...done)
      .when(admit(elsewhere))
      .thenEvents(admitted({ ...elsewhere, backupContextId: 'ctx-backup-new' }));
  });
});

const reasonOf = ({ details }: DomainError): string => String(details.reason);

describe('an increment', () => {
  const based = admitted({ type: 'incremental', parentBackupId: second.backupId as string, bases });

  test('is based on the newest backup of every disk in its repository', () =>
    vm(added(), added(second)).when(increment()).thenEvents(based));

  const refused = (...history: readonly RestorePointsEvent[]) => ({
    when: (over: Partial<AdmitBackup['data']> = {}) =>
      vm(...history)
        .when(increment(over))
        .thenRefused('no-previous-backup'),
  });
  test('of a VM without backups is refused', () => {
    const { message, details } = refused().when();
    assert.equal(message, 'no previous backup found');
    assert.match(String(details.reason), /^disk 0 .*full backup comes first$/);
  });
  test('is refused in another repository', () => void refused(added()).when({ repositoryId: 'repo-2' }));
  test('is refused when one disk has no change id, whichever', () => {
    for (const lacking of [0, 1]) {
      const disks = [0, 1].map((index) => pointDisk(index, index === lacking ? { changeId: null } : {}));
      assert.match(reasonOf(refused(added({ disks })).when()), new RegExp(`^disk ${lacking} has no change id`));
    }
  });
  test('is not based on an older backup when the newest has no change id', () =>
    void refused(added(), added({ ...second, disks: [pointDisk(0), pointDisk(1, { changeId: null })] })).when());
  test('is refused when a disk was added since', () => {
    assert.match(reasonOf(refused(added()).when({ diskIndexes: [0, 1, 2] })), /^disk 2 /);
  });
  test('is refused when a disk left and came back: its own head hangs on another chain', () => {
    const without = added({ backupId: 'b-2', type: 'full', parentBackupId: null, disks: [pointDisk(0)] });
    assert.match(reasonOf(refused(added(), without).when()), /^disk 1 /);
  });
  test('of fewer disks than before is fine', () => {
    const one = admitted({ type: 'incremental', parentBackupId: backupId, bases: [pointDisk(0)] });
    vm(added())
      .when(increment({ diskIndexes: [0] }))
      .thenEvents(one);
  });
  test('is refused while its base is being deleted, and based on the parent afterwards', () => {
    refused(added(), added(second), removalBegun(second.backupId)).when();
    const onFirst = admitted({ type: 'incremental', parentBackupId: backupId, bases: restorePoint().disks });
    vm(added(), added(second), removalBegun(second.backupId), removed(second.backupId as string))
      .when(increment())
      .thenEvents(onFirst);
  });
  test('is refused when any image of its chain is lost, of any disk', () => {
    for (const lost of [imagePath(1, '2'), imagePath(0)]) {
      assert.match(reasonOf(refused(added(), added(second)).when({ missingImages: [lost] })), /lost an image/);
    }
    vm(added(), added(second))
      .when(increment({ missingImages: ['/elsewhere.qcow2'] }))
      .thenEvents(based);
  });
  test('of a running VM conflicts before anything else', () =>
    void vm(admitted({ backupId: 'b-1' }))
      .when(increment())
      .thenRefused('backup-already-running'));
});

describe('restore points', () => {
  const add = (over: Partial<RestorePoint> = {}): RestorePointsCommand => ({
    type: 'AddRestorePoint',
    data: { vmContextId, point: restorePoint(over) },
  });
  const late = (diskIndex: number, id = backupId): RestorePointsCommand => ({
    type: 'RecordLateChangeId',
    data: { ...ref(id), diskIndex, changeId: 'epoch/9' },
  });

  test('come once and free the slot', () => {
    vm(admitted({ backupId })).when(add()).thenEvents(added());
    vm(added()).when(add()).thenNothing();
    assert.equal(vm(admitted({ backupId }), added()).state.active, null);
  });
  test('take a change id that came late, never a second one', () => {
    const open = added({ disks: [pointDisk(0), pointDisk(1, { changeId: null })] });
    vm(open)
      .when(late(1))
      .thenEvents({ type: 'LateChangeIdRecorded', data: { ...ref(backupId), diskIndex: 1, changeId: 'epoch/9' } });
    vm(open).when(late(0)).thenNothing();
    vm(open).when(late(2)).thenNothing();
    vm(open).when(late(1, 'backup-unknown')).thenNothing();
    const { state } = vm(open, {
      type: 'LateChangeIdRecorded',
      data: { ...ref(backupId), diskIndex: 1, changeId: 'epoch/9' },
    });
    assert.deepEqual(
      state.points[0]?.disks.map(({ changeId }) => changeId),
      [pointDisk(0).changeId, 'epoch/9'],
    );
  });
  test('know the chain of a disk from the newest image back to the full one', () => {
    const { state } = vm(
      added({ backupId: 'old', disks: [pointDisk(0, { imagePath: '/old' })] }),
      added(),
      added(second),
    );
    const newest = state.points.at(-1) as RestorePoint;
    assert.deepEqual(
      chainOf(state, newest, 1).map((disk) => disk.imagePath),
      [imagePath(1, '2'), imagePath(1)],
    );
    assert.equal(headOf(state, repositoryId, 1)?.point.backupId, second.backupId);
    assert.equal(headOf(state, 'repo-2', 1), undefined);
  });
});

describe('the removal of a restore point', () => {
  test('begins once, ends once, and moves the head to the parent', () => {
    vm(added()).when(beginRemoval(backupId)).thenEvents(removalBegun());
    vm(added(), removalBegun()).when(beginRemoval(backupId)).thenNothing();
    vm(added(), removalBegun())
      .when({ type: 'FinishRemoval', data: ref(backupId) })
      .thenEvents(removed(backupId));
    vm(added(), removalBegun(), removed(backupId))
      .when({ type: 'FinishRemoval', data: ref(backupId) })
      .thenNothing();
    const { state } = vm(added(), added(second), removalBegun(second.backupId), removed(second.backupId as string));
    assert.equal(headOf(state, repositoryId, 0)?.point.backupId, backupId);
    assert.deepEqual(state.removing, []);
  });
  test('is refused while increments depend on it, and names them', () => {
    const refusal = vm(added(), added(second)).when(beginRemoval(backupId)).thenRefused('backup-has-dependants');
    assert.deepEqual(refusal.details.dependants, [second.backupId]);
    vm(added(), added(second))
      .when(beginRemoval(second.backupId as string))
      .thenEvents(removalBegun(second.backupId));
  });
  test('is refused while a running increment is based on it', () => {
    const running = admitted({ type: 'incremental', parentBackupId: backupId });
    const refusal = vm(added(), running).when(beginRemoval(backupId)).thenRefused('backup-has-dependants');
    assert.deepEqual(refusal.details.dependants, [next]);
    vm(added(), admitted()).when(beginRemoval(backupId)).thenEvents(removalBegun());
  });
  test('of what never became one is nothing to do', () =>
    vm(added()).when(beginRemoval('backup-failed')).thenNothing());
});

test('the state carried forward is the whole state', () => {
  const { state } = vm(added(), added(second), admitted(), removalBegun(second.backupId));
  const carried = decider.carryForward?.toEvent(state) as RestorePointsEvent;
  assert.ok(decider.isWholeState?.(carried));
  assert.ok(!decider.isWholeState?.(added()));
  assert.deepEqual(fold(decider, [carried]), state);
});
