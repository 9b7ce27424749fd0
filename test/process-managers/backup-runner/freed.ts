import assert from 'node:assert/strict';
import type { BackupWorld } from '../../support/backup-world.ts';

/** Nothing of the job is left anywhere, and its VM can be backed up again. */
export const assertFreed = async (world: BackupWorld, backupId: string): Promise<void> => {
  const job = await world.jobOf(backupId);
  assert.deepEqual([job.status, job.closed, job.portsHeld], ['failed', true, false]);
  assert.equal(world.exporter.running.size, 0);
  assert.deepEqual(await world.leases(), []);
  assert.equal(world.images.files.size, 0);
  assert.equal(world.images.sideFiles.written.size, 0);
  assert.deepEqual([(await world.points()).active, (await world.points()).points], [null, []]);
  await world.start();
};

/** Kind and facts of why a job failed. */
export const failureOf = async (world: BackupWorld, backupId: string) => {
  const { failure } = await world.jobOf(backupId);
  return [failure?.kind, failure?.facts];
};
