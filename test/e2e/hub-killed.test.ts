import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { followJobs, untilChange } from '../support/job-changes.ts';
import { changeExtents } from '../support/lab-vm.ts';
import type { WireBackup } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

/** An unfinished job ends within this after the restart of a hub. */
const endsWithinMs = 60_000;

describe('a hub that is killed', () => {
  let world: World;
  let earlier: WireBackup;
  let kept: Kept;
  before(async () => {
    world = await World.open();
    kept = await world.keep();
    earlier = await world.backUp('full');
  });
  after(() => world.close());

  const change = async (seed: string): Promise<void> => {
    for (const disk of world.vm.disks) await changeExtents(disk, { count: 6, sizeBytes: mib, zeroHalf: true, seed });
  };

  /** What was complete before is as it was, and what is not complete has left nothing. */
  const assertHarmless = async (): Promise<void> => {
    await world.assertTidy();
    await world.assertIdentical(earlier, kept);
  };

  test('in the middle of a transfer goes on with it when it is back', async (t) => {
    const now = await world.keep();
    const { backup_id } = await world.startSlowly('full');
    await world.killHub();
    const { readyAfterMs } = await world.startHub();
    const restartedAtMs = performance.now();
    assert.equal((await world.show(backup_id)).status, 'running');
    await world.brake.off();
    const backup = await world.ended(backup_id, endsWithinMs);
    t.diagnostic(
      `ready after ${Math.round(readyAfterMs)} ms, job over ${Math.round(performance.now() - restartedAtMs)} ms later`,
    );
    assert.equal(backup.status, 'completed', backup.error_message ?? '');
    await world.assertIdentical(backup, now);
    await assertHarmless();
  });

  test('while the transfer ends without it takes the change ids when it is back', async () => {
    await change('without');
    const now = await world.keep();
    const { backup_id } = await world.startSlowly('full');
    await world.killHub();
    await world.brake.off();
    await eventually('the transfer is over', async () => (await world.pidsOf('nbdcopy')).length === 0);
    await world.startHub();
    const backup = await world.ended(backup_id, endsWithinMs);
    assert.equal(backup.status, 'completed', backup.error_message ?? '');
    await world.assertIdentical(backup, now);
    await assertHarmless();
  });

  const steps = [
    ['BackupStarted', 1],
    ['ExportPortsAssigned', 1],
    ['DiskExportStarted', 1],
    ['TransferRequested', 1],
    ['TransferAccepted', 1],
    ['DiskChangeIdRecorded', 2],
    ['DiskExportStopped', 1],
    ['ExportPortsReleased', 1],
    ['BackupCompleted', 1],
  ] as const;
  for (const [step, nth] of steps) {
    test(`right after ${step} brings the backup to its end when it is back`, async (t) => {
      const now = await world.keep();
      const changes = await followJobs(world.hub.url);
      const asked = world.call('POST', '/backups', { body: world.request('incremental') }).catch(() => undefined);
      const { data } = await untilChange(changes, step, nth);
      await world.killHub();
      changes.close();
      await asked;
      await world.startHub();
      const restartedAtMs = performance.now();
      const backup = await world.ended(String(data.job_id), endsWithinMs);
      t.diagnostic(`${backup.status} ${Math.round(performance.now() - restartedAtMs)} ms after the restart`);
      if (backup.status === 'completed') await world.assertIdentical(backup, now);
      else assert.match(backup.error_message ?? '', /\w/);
      await assertHarmless();
    });
  }

  test('in the middle of a deletion finishes it when it is back', async () => {
    const doomed = await world.backUp('full');
    const changes = await followJobs(world.hub.url);
    const asked = world.call('DELETE', `/backups/${doomed.backup_id}`).catch(() => undefined);
    await untilChange(changes, 'BackupRemovalRequested');
    await world.killHub();
    changes.close();
    await asked;
    await world.startHub();
    await eventually('the backup is deleted', async () => {
      return (await world.call('GET', `/backups/${doomed.backup_id}`)).status === 404;
    });
    await assertHarmless();
  });
});
