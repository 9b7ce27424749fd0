import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { streamOf } from '#domain/streams.ts';
import { createReadyWorld } from '../../support/backup-world.ts';

describe('what a backup’s events follow from', () => {
  test('is an event before them, whoever wrote them, but for the request that began it', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.telemetry(backupId, { percent: 3 });
    await world.copyAll(backupId);
    await world.settle(backupId);
    const { log } = world.store;
    const seen = new Set<string>();
    const without: string[] = [];
    for (const { id, event, metadata } of log) {
      const { $correlationId: correlation, $causationId: cause } = metadata;
      if (correlation === backupId) {
        if (cause === undefined) without.push(event.type);
        else assert.ok(seen.has(cause), `${event.type} follows from an event that came before it`);
      }
      seen.add(id);
    }
    assert.deepEqual(without, ['BackupAdmitted', 'BackupStarted']);
  });

  test('of what the client says is the request that started the client', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.telemetry(backupId, { status: 'failed', error: 'the snapshot was refused' });
    const { events } = await world.store.read(streamOf.backup(backupId));
    const accepted = events.find(({ event }) => event.type === 'TransferAccepted');
    const failed = events.find(({ event }) => event.type === 'BackupFailed');
    assert.ok(accepted && failed);
    assert.equal(failed.metadata.$causationId, accepted.id);
  });
});
