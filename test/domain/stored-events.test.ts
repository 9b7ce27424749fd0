import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import { auditDayDecider, auditDaysDecider } from '#domain/audit/decide.ts';
import { auditDaysEventVersions, auditEventVersions } from '#domain/audit/events.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import { backupEventVersions } from '#domain/backup/events.ts';
import { claimDecider, claimEventVersions } from '#domain/claim/claim.ts';
import type { Decider, DomainEvent } from '#domain/decider.ts';
import { diskRestoreDecider } from '#domain/disk-restore/disk-restore.ts';
import { diskRestoreEventVersions } from '#domain/disk-restore/events.ts';
import { idempotencyKeyDecider, idempotencyKeyEventVersions } from '#domain/idempotency-key/idempotency-key.ts';
import { mountSlotsDecider, mountSlotsEventVersions } from '#domain/mount-slots/mount-slots.ts';
import { nbdExportDecider, nbdExportEventVersions } from '#domain/nbd-export/nbd-export.ts';
import { nbdPortsDecider, nbdPortsEventVersions } from '#domain/nbd-ports/nbd-ports.ts';
import { parkedStreamDecider, parkedStreamEventVersions } from '#domain/parked-stream/parked-stream.ts';
import { repositoryDecider, repositoryEventVersions } from '#domain/repository/repository.ts';
import { repositoryRootsDecider, repositoryRootsEventVersions } from '#domain/repository/roots.ts';
import { repositoryStorageDecider, repositoryStorageEventVersions } from '#domain/repository/storage.ts';
import { restoreMountEventVersions } from '#domain/restore-mount/events.ts';
import { restoreMountDecider } from '#domain/restore-mount/restore-mount.ts';
import { restorePointsDecider } from '#domain/restore-points/decide.ts';
import { restorePointsEventVersions } from '#domain/restore-points/events.ts';
import { sessionDecider } from '#domain/session/decide.ts';
import { sessionVersions } from '#domain/session/events.ts';
import { telemetryDecider } from '#domain/telemetry/decide.ts';
import { telemetryEventVersions } from '#domain/telemetry/events.ts';
import { vmContextDecider, vmContextEventVersions } from '#domain/vm-context/vm-context.ts';
import { credentialUsageDecider, credentialUsageEventVersions } from '#domain/vmware-credential/credential-usage.ts';
import {
  defaultCredentialDecider,
  defaultCredentialEventVersions,
} from '#domain/vmware-credential/default-credential.ts';
import { vmwareCredentialDecider, vmwareCredentialEventVersions } from '#domain/vmware-credential/vmware-credential.ts';
import { eventVersions, upcast } from '../../src/composition/event-registry.ts';

type Folder = Pick<Decider<unknown, never, DomainEvent>, 'initialState' | 'evolve'>;

/** The dispatch by name loses each decider's own types. */
const folder = (decider: Readonly<{ initialState: unknown }>): Folder => decider as Folder;

const concepts: readonly (readonly [Readonly<Record<string, number>>, Folder])[] = [
  [auditEventVersions, folder(auditDayDecider((text) => text))],
  [auditDaysEventVersions, folder(auditDaysDecider)],
  [backupEventVersions, folder(backupDecider)],
  [claimEventVersions, folder(claimDecider)],
  [credentialUsageEventVersions, folder(credentialUsageDecider)],
  [defaultCredentialEventVersions, folder(defaultCredentialDecider)],
  [diskRestoreEventVersions, folder(diskRestoreDecider)],
  [idempotencyKeyEventVersions, folder(idempotencyKeyDecider)],
  [mountSlotsEventVersions, folder(mountSlotsDecider)],
  [nbdExportEventVersions, folder(nbdExportDecider)],
  [nbdPortsEventVersions, folder(nbdPortsDecider)],
  [parkedStreamEventVersions, folder(parkedStreamDecider)],
  [repositoryEventVersions, folder(repositoryDecider)],
  [repositoryRootsEventVersions, folder(repositoryRootsDecider)],
  [repositoryStorageEventVersions, folder(repositoryStorageDecider)],
  [restoreMountEventVersions, folder(restoreMountDecider)],
  [restorePointsEventVersions, folder(restorePointsDecider('ctx-pgtest1-20261006-203401'))],
  [sessionVersions, folder(sessionDecider)],
  [telemetryEventVersions, folder(telemetryDecider)],
  [vmContextEventVersions, folder(vmContextDecider)],
  [vmwareCredentialEventVersions, folder(vmwareCredentialDecider)],
];

type Stored = Readonly<{ type: string; v: number; data: Readonly<Record<string, unknown>> }>;

const files = new Map<string, Stored>();
for await (const path of glob('*/stored/*.json', { cwd: import.meta.dirname })) {
  files.set(basename(path, '.json'), JSON.parse(await readFile(join(import.meta.dirname, path), 'utf8')) as Stored);
}

/** A stored event as the program of today sees it. */
const read = (name: string): DomainEvent => {
  const stored = files.get(name);
  assert.ok(stored, `${name}.json is missing: keep what a released version writes as a golden file`);
  assert.equal(`${stored.type}.v${stored.v}`, name);
  return { type: stored.type, data: upcast(stored.type, stored.v, stored.data) };
};

describe('events that were ever written', () => {
  for (const [type, newest] of Object.entries(eventVersions)) {
    for (let version = 1; version <= newest; version += 1) {
      test(`${type} v${version} can still be read and folded`, () => {
        const event = read(`${type}.v${version}`);
        const [, decider] = concepts.find(([versions]) => type in versions) ?? [];
        assert.ok(decider, `no decider of this test folds ${type}`);
        decider.evolve(decider.initialState, event);
      });
    }
  }

  test('have no golden file of a type or version that nothing reads', () => {
    const known = Object.entries(eventVersions).flatMap(([type, newest]) =>
      Array.from({ length: newest }, (_, index) => `${type}.v${index + 1}`),
    );
    assert.deepEqual([...files.keys()].sort(), known.sort());
  });

  test('have a type of their own in the whole log', () => {
    const types = concepts.flatMap(([versions]) => Object.keys(versions));
    assert.deepEqual(types.toSorted(), Object.keys(eventVersions).toSorted());
    assert.equal(new Set(types).size, types.length);
  });
});

describe('a stored history still means the same', () => {
  const fold = <S>(decider: Readonly<{ initialState: S }>, ...names: readonly string[]): S => {
    const { initialState, evolve } = folder(decider);
    return names
      .map((name) => read(`${name}.v1`))
      .reduce<unknown>((state, event) => evolve(state, event as never), initialState) as S;
  };
  const begun = ['BackupStarted', 'ExportPortsAssigned', 'DiskImageCreated', 'DiskExportStarted'];
  const disk = (state: ReturnType<typeof fold<typeof backupDecider.initialState>>) =>
    state.status === 'none' ? undefined : state.disks[1];

  test('of a backup that was completed and deleted', () => {
    const state = fold(
      backupDecider,
      ...[...begun, 'TransferRequested', 'TransferAccepted', 'BackupStalled', 'BackupResumed', 'DiskTransferred'],
      ...['DiskChangeIdRecorded', 'DiskExportStopped', 'ExportPortsReleased', 'BackupCompleted', 'BackupClosed'],
    );
    assert.ok(state.status === 'completed' && state.closed && !state.portsHeld && state.transfer === 'accepted');
    const { image, export: serving, changeId, bytesTransferred, base } = disk(state) ?? {};
    assert.deepEqual([image, serving, bytesTransferred], ['created', 'clean', 5 * 1024 ** 3]);
    assert.equal(changeId, base?.changeId);
    const removed = fold(backupDecider, ...begun, 'BackupRemovalRequested', 'BackupRemovalFailed', 'BackupRemoved');
    assert.ok(removed.status !== 'none' && removed.removal === 'removed');
  });

  test('of a backup that failed', () => {
    const state = fold(
      backupDecider,
      ...begun,
      'ExportPortLost',
      'DiskExportDied',
      'BackupFailed',
      'TransferCancelled',
      'DiskImageDeleted',
    );
    assert.ok(state.status === 'failed' && !state.closed && state.transfer === 'cancelled');
    assert.deepEqual(
      [state.failure?.kind, disk(state)?.export, disk(state)?.image, disk(state)?.port],
      ['node-refused', 'died', 'deleted', null],
    );
  });

  test('of a VM’s restore points', () => {
    const decider = restorePointsDecider('ctx-pgtest1-20261006-203401');
    const state = fold(
      decider,
      'RestorePointAdded',
      'LateChangeIdRecorded',
      'BackupAdmitted',
      'RestorePointRemovalBegun',
    );
    assert.equal(state.active?.parentBackupId, state.points[0]?.backupId);
    assert.deepEqual(state.removing, [state.points[0]?.backupId]);
    assert.ok(state.points[0]?.disks.every(({ changeId }) => changeId !== null));
    const empty = fold(decider, 'RestorePointsCarriedForward', 'BackupAbandoned', 'RestorePointRemoved');
    assert.deepEqual([empty.active, empty.points, empty.contexts.length], [null, [], 1]);
  });

  test('of the NBD ports', () => {
    assert.equal(fold(nbdPortsDecider, 'NbdPortsAllocated').leases.length, 2);
    assert.equal(fold(nbdPortsDecider, 'NbdPortsCarriedForward', 'NbdPortsReleased').leases.length, 0);
  });
});
