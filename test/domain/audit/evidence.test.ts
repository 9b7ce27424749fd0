import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Evidence, evidenceFor, type TracedEvent } from '#domain/audit/evidence.ts';

const event = (stream: string, type: string, by: string | null = 'user:admin'): TracedEvent => ({
  ...{ id: 'e', stream, type, by, revision: 0n, position: 0n },
  ...{ recordedAt: '2026-11-22T02:16:05.0000000Z', causationId: null },
});

const needs = (evidence: Evidence, events: readonly TracedEvent[]): void => {
  for (const each of events) assert.equal(evidenceFor(each), evidence, `${each.stream} ${each.type} by ${each.by}`);
};

describe('what accounts for an event', () => {
  test('is an entry of the trail, for what people and programs ask for', () =>
    needs('entry', [
      event('backup-pgtest1-1', 'BackupStarted'),
      event('backup-pgtest1-1', 'DiskChangeIdRecorded', 'node:127.0.0.1'),
      event('session-abc', 'SessionOpened', 'node:sna-1'),
      event('parkedStreams-backups.v1', 'PoisonEventSkipped', 'operator:local'),
      event('repository-repo-local-1', 'RepositoryAdded', null),
      event('repository-repo-local-1', 'RepositoryAdded', 'unknown'),
    ]));

  test('is a cause in the log, for what process managers and sweeps make of it', () =>
    needs('cause', [
      event('backup-pgtest1-1', 'DiskImageCreated', 'process:backup-runner'),
      event('telemetry-pgtest1-1', 'ProgressReported', 'process:backup-runner'),
      event('nbdPorts-storage-1', 'NbdPortsReleased', 'system'),
    ]));

  test('is either of them, for what a client reports of its own job', () =>
    needs('entry-or-cause', [
      event('telemetry-pgtest1-1', 'ProgressReported', 'node:127.0.0.1'),
      event('telemetry-pgtest1-1', 'ProgressReported', null),
      event('backup-pgtest1-1', 'DiskTransferred', 'token:12345678'),
      event('backup-pgtest1-1', 'BackupFailed', 'node:127.0.0.1'),
    ]));

  test('is the chain of hashes, for the trail itself', () =>
    needs('trail', [
      event('audit-2026-11-22', 'AuditBatchRecorded', 'process:audit'),
      event('audit-1999-01-01', 'AuditBatchRecorded', 'user:admin'),
      event('auditDays-trail', 'AuditDayBegun', 'process:audit'),
    ]));

  test('is nothing at all, for what the hub never does to its streams', () =>
    needs('impossible', [
      event('$$backup-pgtest1-1', '$metadata'),
      event('$$audit-2026-11-22', '$metadata', 'process:audit'),
      event('backup-pgtest1-1', '$streamDeleted', null),
      event('repository-repo-local-1', '$sendense-gap', null),
    ]));

  test('is not asked for of what is not the hub`s, and of bounds that it sets itself', () =>
    needs('none', [
      event('orders-1', 'OrderPlaced', null),
      event('backups', 'Anything', null),
      event('toString-1', 'Anything', null),
      event('$$orders-1', '$metadata', null),
      event('$$telemetry-pgtest1-1', '$metadata', null),
      event('$$credentialUsage-1', '$metadata', null),
      event('$$repositoryStorage-repo-local-1', '$metadata', null),
    ]));
});
