import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CommandContext } from '#commands/ports.ts';
import { createStartBackup, type StartBackupInput } from '#commands/start-backup.ts';
import { streamOf } from '#domain/streams.ts';
import { at, backupId as firstId, gib, imagePath, repositoryId, vmContextId } from '../support/backup-facts.ts';
import { context, createBackupWorld, createReadyWorld, dyingBefore, vmDisk } from '../support/backup-world.ts';

const input: StartBackupInput = { vmName: 'pgtest1', repositoryId, backupType: 'full', tags: {} };
const request = { operation: 'start-backup', requestSha256: 'aa' };
/** As a client that sends the same key again. */
const keyed = (correlationId: string): CommandContext => ({ ...context(correlationId), commandId: 'key-1' });

describe('starting a backup', () => {
  test('records all disks in the order of their keys, with what names them', async () => {
    const world = createBackupWorld();
    await world.addRepository();
    await world.addVm({ disks: [vmDisk(2001, 5 * gib), vmDisk(2000, 102 * gib)] });
    const backupId = await world.start({ tags: { reason: 'nightly' } });
    assert.equal(backupId, firstId);
    const { disks, repositoryPath, credentialId, parentBackupId } = await world.jobOf(backupId);
    assert.deepEqual([repositoryPath, credentialId, parentBackupId], ['/backup/repository', 7, null]);
    assert.deepEqual(
      disks.map(({ index, key, capacityBytes, exportName, imagePath: path, base }) => [
        index,
        key,
        capacityBytes,
        exportName,
        path,
        base,
      ]),
      [
        [0, 2000, 102 * gib, 'pgtest1-disk-2000', imagePath(0), null],
        [1, 2001, 5 * gib, 'pgtest1-disk-2001', imagePath(1), null],
      ],
    );
  });

  test('keeps a key of another controller, and never gives two disks one key', async () => {
    const world = createBackupWorld();
    await world.addRepository();
    const odd = (diskId: string) => ({ ...vmDisk(0, gib), diskId });
    await world.addVm({ disks: [vmDisk(2016, gib), vmDisk(2001, gib), odd('scsi1:0'), odd('scsi1:1')] });
    const { disks } = await world.jobOf(await world.start());
    assert.deepEqual(
      disks.map(({ index, key }) => [index, key]),
      [
        [0, 2001],
        [1, 2016],
        [2, 2002],
        [3, 2003],
      ],
    );
    const clash = createBackupWorld();
    await clash.addRepository();
    await clash.addVm({ disks: [vmDisk(2001, gib), odd('scsi1:0')] });
    const keys = (await clash.jobOf(await clash.start())).disks.map(({ key }) => key);
    assert.deepEqual(keys, [2001, 2002]);
    const twice = createBackupWorld();
    await twice.addRepository();
    await twice.addVm({ disks: [vmDisk(2000, gib), vmDisk(2000, gib), vmDisk(2001, gib)] });
    const all = (await twice.jobOf(await twice.start())).disks.map(({ key }) => key);
    assert.deepEqual(all, [2000, 2002, 2001]);
  });

  test('takes a size in GB where the bytes are unknown', async () => {
    const world = createBackupWorld();
    await world.addRepository();
    await world.addVm({ disks: [{ ...vmDisk(2000, 0), sizeGb: 3 }, vmDisk(2001, gib)] });
    assert.equal((await world.jobOf(await world.start())).disks[0]?.capacityBytes, 3 * gib);
  });
});

describe('a backup is refused, and leaves nothing behind,', () => {
  const refused = (
    what: string,
    code: string,
    prepare: (world: ReturnType<typeof createBackupWorld>) => Promise<Partial<StartBackupInput> | undefined>,
  ) =>
    test(what, async () => {
      const world = createBackupWorld();
      const over = (await prepare(world)) ?? {};
      const before = world.store.log.length;
      await assert.rejects(world.start(over), { code });
      assert.equal(world.store.log.length, before);
    });

  refused('of an unknown VM', 'vm-not-found', async (world) => {
    await world.addRepository();
  });
  refused('of a VM without disks', 'vm-without-disks', async (world) => {
    await world.addRepository();
    await world.addVm({ disks: [] });
  });
  refused('of a disk without a size, whichever', 'disk-without-size', async (world) => {
    await world.addRepository();
    await world.addVm({ disks: [vmDisk(2000, gib), vmDisk(2001, 0)] });
  });
  refused('of a VM without a credential', 'vm-without-credential', async (world) => {
    await world.addRepository();
    await world.addVm({ credentialId: null });
  });
  refused('of a VM whose credential is gone', 'credential-not-found', async (world) => {
    await world.addRepository();
    await world.addVm({ credentialId: 8 });
  });
  refused('into an unknown repository', 'repository-not-found', async (world) => {
    await world.addVm();
  });
  refused('into a disabled repository', 'repository-disabled', async (world) => {
    await world.addRepository(repositoryId, '/r', false);
    await world.addVm();
  });
  refused('into a repository that cannot be written to', 'repository-unreachable', async (world) => {
    await world.addRepository();
    await world.addVm();
    Object.assign(world.access, {
      assertWritable: async () => {
        throw new Error('it is not mounted');
      },
    });
  });
  refused('under an unknown policy', 'policy-not-found', async (world) => {
    await world.addRepository();
    await world.addVm();
    return { policyId: 'p-1' };
  });
  refused('of one of two VMs of that name, without saying which', 'vm-name-ambiguous', async (world) => {
    await world.addRepository();
    await world.addVm();
    await world.addVm({ contextId: 'ctx-other', vcenterHost: 'vc2.lab' });
  });
  refused('as an increment of nothing', 'no-previous-backup', async (world) => {
    await world.addRepository();
    await world.addVm();
    return { backupType: 'incremental' };
  });
  refused('as an increment of an image that somebody deleted', 'no-previous-backup', async (world) => {
    await world.addRepository();
    await world.addVm();
    await world.backUp();
    await world.backUp({ backupType: 'incremental' }, 2);
    world.images.files.delete([...world.images.files.keys()][1] as string);
    return { backupType: 'incremental' };
  });
  refused('of a VM named by an id that is another name’s', 'vm-not-found', async (world) => {
    await world.addRepository();
    await world.addVm({ vmName: 'other' });
    return { vmContextId };
  });
});

describe('one backup of a VM at a time', () => {
  test('a second one conflicts, into whatever repository, and is told which one runs', async () => {
    const world = await createReadyWorld();
    await world.addRepository('repo-2', '/second');
    const backupId = await world.start();
    for (const over of [{}, { repositoryId: 'repo-2' }]) {
      await assert.rejects(world.start(over), { code: 'backup-already-running', details: { backupId } });
    }
  });

  test('of two at once in one second exactly one passes, also when both ask for the same', async () => {
    const world = await createReadyWorld();
    const all = await Promise.allSettled([world.start(), world.start(), world.start()]);
    assert.equal(all.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const result of all)
      if (result.status === 'rejected') assert.equal(result.reason.code, 'backup-already-running');
    assert.equal(world.store.log.filter(({ event }) => event.type === 'BackupStarted').length, 1);
  });

  test('other VMs are not held up, also of the same name in the same second', async () => {
    const world = await createReadyWorld();
    await world.addVm({ contextId: 'ctx-other', vcenterHost: 'vc2.lab' });
    const one = await world.start({ vmContextId });
    const two = await world.start({ vmContextId: 'ctx-other' });
    assert.notEqual(one, two);
    assert.equal((await world.jobOf(two)).vmContextId, 'ctx-other');
  });

  test('two VMs of one name at once never share a job', async () => {
    const world = await createReadyWorld();
    await world.addVm({ contextId: 'ctx-other', vcenterHost: 'vc2.lab' });
    const ids = [vmContextId, 'ctx-other'] as const;
    const all = await Promise.allSettled(ids.map((id) => world.start({ vmContextId: id })));
    for (const [place, result] of all.entries()) {
      if (result.status === 'rejected') assert.equal(result.reason.code, 'backup-already-running');
      else assert.equal((await world.jobOf(result.value)).vmContextId, ids[place]);
    }
    for (const [place, result] of all.entries())
      if (result.status === 'rejected') await world.start({ vmContextId: ids[place] as string });
  });

  test('a backup right after a failed one has an id and files of its own, even in the same second', async () => {
    const world = await createReadyWorld();
    const one = await world.start();
    await world.telemetry(one, { status: 'failed' });
    const two = await world.start();
    assert.notEqual(one, two);
    const paths = [...(await world.jobOf(one)).disks, ...(await world.jobOf(two)).disks].map((disk) => disk.imagePath);
    assert.equal(new Set(paths).size, 4);
    await world.settle(two);
    await world.settle(one);
    assert.equal(world.images.files.size, 2);
    assert.equal((await world.points()).active?.backupId, two);
  });

  test('the slot of a hub that died before it recorded the job is free after half a minute', async () => {
    const world = await createReadyWorld();
    const dying = createStartBackup({ ...world.commandDeps, store: dyingBefore(world.store, 'BackupStarted') });
    await assert.rejects(dying(input, context, undefined), /died before/);
    await assert.rejects(world.start(), { code: 'backup-already-running' });
    world.pass(31);
    const backupId = await world.start();
    assert.equal((await world.points()).active?.backupId, backupId);
  });

  test('a repository whose removal begins meanwhile takes no backup: the job fails and gives the slot back', async () => {
    const world = await createReadyWorld();
    const stream = streamOf.repository(repositoryId);
    const store = {
      ...world.store,
      append: async (...args: Parameters<typeof world.store.append>) => {
        if (args[1].some(({ type }) => type === 'BackupStarted')) {
          const begun = { type: 'RepositoryRemovalBegun', data: { repositoryId, at: at() } };
          await world.store.append(stream, [begun], 0n, context());
        }
        return world.store.append(...args);
      },
    };
    const start = createStartBackup({ ...world.commandDeps, store });
    const { backupId } = await start(input, context, undefined);
    await world.settle(backupId);
    const { status, failure, closed } = await world.jobOf(backupId);
    assert.deepEqual([status, failure?.kind, closed], ['failed', 'repository', true]);
    assert.deepEqual([(await world.points()).active, world.images.created.length], [null, 0]);
  });
});

describe('a start that is sent twice with one Idempotency-Key', () => {
  test('starts one backup and answers with it, also later and while others are refused', async () => {
    const world = await createReadyWorld();
    const first = await world.startCommand(input, keyed, request);
    world.pass(10);
    const again = await world.startCommand(input, keyed, request);
    assert.deepEqual([again.backupId, again.position], [first.backupId, undefined]);
    await assert.rejects(world.start(), { code: 'backup-already-running' });
  });

  test('goes on where a hub died in the middle', async () => {
    const world = await createReadyWorld();
    const dying = createStartBackup({ ...world.commandDeps, store: dyingBefore(world.store, 'BackupStarted') });
    await assert.rejects(dying(input, keyed, request), /died before/);
    world.pass(5);
    const { backupId } = await world.startCommand(input, keyed, request);
    assert.equal((await world.points()).active?.backupId, backupId);
    assert.equal((await world.jobOf(backupId)).startedAt, at(5));
  });

  test('may start after a first refusal', async () => {
    const world = createBackupWorld();
    await world.addVm();
    await assert.rejects(world.startCommand(input, keyed, request), { code: 'repository-not-found' });
    await world.addRepository();
    assert.equal((await world.startCommand(input, keyed, request)).backupId, firstId);
  });
});
