import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { processesOf, signalProcess } from '../support/processes.ts';
import type { WireBackup } from '../support/wire.ts';
import { type Kept, World } from '../support/world.ts';

const endsWithinMs = 60_000;

describe('a part that is killed in the middle of a transfer', () => {
  let world: World;
  let earlier: WireBackup;
  let kept: Kept;
  before(async () => {
    world = await World.open();
    kept = await world.keep();
    earlier = await world.backUp('full');
  });
  after(() => world.close());

  /** Completed backups verify, nothing is left of the failed one, and the next one works. */
  const assertHarmless = async (): Promise<void> => {
    await world.brake.off();
    await world.assertTidy();
    await world.assertIdentical(earlier, kept);
    await world.assertIdentical(await world.backUp('incremental'), kept);
    await world.assertTidy();
  };

  const pidOf = async (what: string, matches: (commandLine: string) => boolean): Promise<number> => {
    const found = (await processesOf(world.folder)).filter(({ commandLine }) => matches(commandLine));
    const [only] = found;
    assert.ok(only && found.length === 1, `one process is ${what}: ${JSON.stringify(found)}`);
    return only.pid;
  };

  const assertGoesOn = async ({ backup_id }: WireBackup): Promise<void> => {
    await world.brake.off();
    const backup = await world.ended(backup_id, endsWithinMs);
    assert.equal(backup.status, 'completed', backup.error_message ?? '');
    await world.assertIdentical(backup, kept);
  };

  test('the node: the job fails with that reason as soon as it is back', async () => {
    const { backup_id } = await world.startSlowly('full');
    await world.killNode();
    const copying = async () => [...(await world.pidsOf('nbdcopy')), ...(await world.pidsOf('nbdkit'))];
    await eventually('its programs end with it', async () => (await copying()).length === 0);
    await world.startNode();
    const backup = await world.ended(backup_id, endsWithinMs);
    assert.equal(backup.status, 'failed');
    assert.match(backup.error_message ?? '', /node ended while the backup was running/);
    await assertHarmless();
  });

  test('one qemu-nbd: the job fails at once and tells which disk', async () => {
    const { backup_id, disk_results: disks } = await world.startSlowly('full');
    signalProcess(disks[1]?.qemu_nbd_pid, 'SIGKILL');
    const backup = await world.ended(backup_id, endsWithinMs);
    assert.equal(backup.status, 'failed');
    assert.match(backup.error_message ?? '', /export of disk 1 ended in the middle of the backup.*SIGKILL/);
    await assertHarmless();
  });

  test('one nbdcopy: the job fails with what the client says', async () => {
    const { backup_id } = await world.startSlowly('full');
    const [copy] = await world.pidsOf('nbdcopy');
    signalProcess(copy, 'SIGKILL');
    const backup = await world.ended(backup_id, endsWithinMs);
    assert.equal(backup.status, 'failed');
    assert.match(backup.error_message ?? '', /transfer of .* failed/);
    await assertHarmless();
  });

  test('PostgreSQL: it is started again and the transfer completes', async () => {
    const started = await world.startSlowly('full');
    const postmaster = await pidOf('the postmaster', (line) => /bin\/postgres -D /.test(line));
    signalProcess(postmaster, 'SIGKILL');
    await eventually('the hub answers from its tables again', async () => {
      return (await world.call('GET', `/backups/${started.backup_id}`)).status === 200;
    });
    await assertGoesOn(started);
    await assertHarmless();
  });

  test('the event store: it is started again and the transfer completes', async () => {
    const started = await world.startSlowly('full');
    const store = await pidOf('the event store', (line) => line.includes('embedded-event-store'));
    signalProcess(store, 'SIGKILL');
    await assertGoesOn(started);
    await assertHarmless();
  });

  test('hub and node at once: the job fails with its reason and the next backup works', async () => {
    const { backup_id } = await world.startSlowly('full');
    await Promise.all([world.killHub(), world.killNode()]);
    await Promise.all([world.startHub(), world.startNode()]);
    const backup = await world.ended(backup_id, endsWithinMs);
    assert.equal(backup.status, 'failed');
    assert.match(backup.error_message ?? '', /\w/);
    await assertHarmless();
  });

  test('the hub and every qemu-nbd: the job fails with its reason when the hub is back', async () => {
    const { backup_id, disk_results: disks } = await world.startSlowly('full');
    await world.killHub();
    for (const { qemu_nbd_pid: pid } of disks) signalProcess(pid, 'SIGKILL');
    await world.startHub();
    const backup = await world.ended(backup_id, endsWithinMs);
    assert.equal(backup.status, 'failed');
    assert.match(backup.error_message ?? '', /export of disk \d ended|transfer of .* failed/);
    await assertHarmless();
  });
});
