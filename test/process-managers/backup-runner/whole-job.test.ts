import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exportIdFor } from '#domain/backup/ids.ts';
import { gib, repositoryId, vmContextId } from '../../support/backup-facts.ts';
import { type BackupWorld, createReadyWorld } from '../../support/backup-world.ts';

const folder = `/backup/repository/${vmContextId}`;

const leftovers = async ({ exporter, leases, node }: BackupWorld) => ({
  exports: [...exporter.running.keys()],
  leases: (await leases()).map(({ port }) => port),
  clients: [...node.clients],
});
const nothing = { exports: [], leases: [], clients: [] };

describe('a full backup of two disks', () => {
  test('is prepared and handed to the node appliance, disks side by side', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);

    assert.deepEqual(await leftovers(world), {
      exports: [exportIdFor(backupId, 0), exportIdFor(backupId, 1)],
      leases: [10100, 10101],
      clients: [backupId],
    });
    assert.deepEqual(
      [...world.images.files.values()].map(({ virtualSizeBytes, basePath }) => [virtualSizeBytes, basePath]),
      [
        [102 * gib, null],
        [5 * gib, null],
      ],
    );
    const [request] = world.node.starts;
    assert.deepEqual(request, {
      ...{ jobId: backupId, vmName: 'pgtest1', vmPath: '/DC1/vm/pgtest1', backupType: 'full' },
      ...{ vcenterHost: 'vc.lab', username: 'backup', password: 'secret' },
      nbdTargets: '2000:nbd://127.0.0.1:10100/pgtest1-disk-2000,2001:nbd://127.0.0.1:10101/pgtest1-disk-2001',
    });
    const exports = [...world.exporter.running.values()];
    assert.ok(exports.every(({ sharedConnections, readOnly }) => sharedConnections === 10 && !readOnly));
  });

  test('waits for its client without doing anything twice', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    const before = world.store.log.length;
    await world.settle(backupId);
    await world.completeDisk(backupId, 0, 'epoch-0/1');
    await world.settle(backupId);
    assert.equal(world.store.log.length, before + 1);
    assert.equal(world.exporter.running.size, 2);
  });

  test('ends with sealed images, a restore point and nothing held', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();

    assert.deepEqual(await leftovers(world), nothing);
    const job = await world.jobOf(backupId);
    assert.deepEqual([job.status, job.closed, job.failure], ['completed', true, null]);
    assert.ok([...world.images.files.values()].every(({ sealed }) => sealed));
    const { active, points } = await world.points();
    assert.equal(active, null);
    assert.deepEqual(
      points.map(({ type, parentBackupId, disks }) => [
        type,
        parentBackupId,
        disks.map(({ changeId, imageBytes }) => [changeId, imageBytes]),
      ]),
      [
        [
          'full',
          null,
          [
            ['epoch-0/1', gib],
            ['epoch-1/1', 2 * gib],
          ],
        ],
      ],
    );
    // Nobody told how much it was: what the images have grown by since they were empty.
    const empty = 196_624;
    const completed = world.store.log.find(({ event }) => event.type === 'BackupCompleted')?.event.data;
    assert.deepEqual(completed && { ...completed, at: undefined }, {
      ...{ backupId, at: undefined, bytesTransferred: 3 * gib - 2 * empty, totalBytes: 3 * gib - 2 * empty },
      disks: [
        { diskIndex: 0, imageBytes: gib, bytesTransferred: gib - empty },
        { diskIndex: 1, imageBytes: 2 * gib, bytesTransferred: 2 * gib - empty },
      ],
    });
  });

  test('believes telemetry about the bytes, and the client’s own word more than that', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.telemetry(backupId, { bytesTransferred: 9 * gib, totalBytes: 100 * gib, percent: 9 });
    await world.completeDisk(backupId, 0, 'epoch-0/1', 10 * gib);
    await world.completeDisk(backupId, 1, 'epoch-1/1');
    await world.settle(backupId);
    const data = world.store.log.find(({ event }) => event.type === 'BackupCompleted')?.event.data;
    const { bytesTransferred, totalBytes, disks } = data as {
      bytesTransferred: number;
      totalBytes: number;
      disks: { bytesTransferred: number }[];
    };
    assert.deepEqual([bytesTransferred, totalBytes, disks[0]?.bytesTransferred], [10 * gib, 105 * gib, 10 * gib]);
  });

  test('leaves files that explain it without the hub', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    const { written } = world.images.sideFiles;
    const image = [...world.images.files.keys()][1] as string;
    assert.deepEqual(
      [...written.keys()].toSorted(),
      [`${folder}/disk-0/`, `${folder}/disk-1/`].flatMap((path, index) => [
        `${[...world.images.files.keys()][index]}.json`,
        `${path}chain.json`,
      ]),
    );
    assert.deepEqual(written.get(`${image}.json`), {
      ...{ backup_id: backupId, vm_context_id: vmContextId, vm_name: 'pgtest1', disk_id: 1, backup_type: 'full' },
      ...{ change_id: 'epoch-1/1', size_bytes: 2 * gib, total_bytes: 5 * gib },
      ...{ created_at: '2026-11-22T02:16:05.000Z', completed_at: '2026-11-22T02:16:05.000Z' },
      qcow2_info: {
        ...{ virtual_size: 5 * gib, actual_size: 2 * gib, format: 'qcow2', cluster_size: 65536 },
        ...{ compressed: false, encrypted: false, dirty_flag: false },
      },
      metadata: {
        vmware_info: {
          ...{ vmware_disk_id: 'disk-2001', disk_path: '[ds1] pgtest1/2001.vmdk', datastore_name: 'ds1' },
          ...{ change_id: 'epoch-1/1', cbt_enabled: true },
        },
      },
    });
  });
});

describe('an incremental backup', () => {
  test('lays its images over those of the newest backup, and sends the change id', async () => {
    const world = await createReadyWorld();
    const full = await world.backUp();
    const bases = [...world.images.files.keys()];
    const backupId = await world.start({ backupType: 'incremental' });
    await world.settle(backupId);

    const overlays = (await world.jobOf(backupId)).disks.map(({ imagePath }) => world.images.files.get(imagePath));
    assert.deepEqual(
      overlays.map((image) => image?.basePath),
      bases,
    );
    assert.equal(world.node.starts[1]?.previousChangeId, 'epoch-0/1');
    await world.copyAll(backupId, 2);
    await world.settle(backupId);

    assert.deepEqual(
      (await world.points()).points.map((point) => [point.backupId, point.parentBackupId]),
      [
        [full, null],
        [backupId, full],
      ],
    );
    assert.deepEqual(await leftovers(world), nothing);
  });

  test('describes the whole chain beside the images', async () => {
    const world = await createReadyWorld();
    const full = await world.backUp();
    const increment = await world.backUp({ backupType: 'incremental' }, 2);
    const [point, newest] = (await world.points()).points;
    assert.deepEqual(world.images.sideFiles.written.get(`${folder}/disk-1/chain.json`), {
      ...{ chain_id: `${vmContextId}-disk1-chain`, vm_context_id: vmContextId, disk_id: 1, full_backup_id: full },
      ...{ backup_ids: [full, increment], total_backups: 2, total_size_bytes: 4 * gib },
      ...{ created_at: point?.completedAt, updated_at: newest?.completedAt },
    });
    const overlay = newest?.disks[1]?.imagePath as string;
    const { parent_backup_id: parent, qcow2_info: info } = world.images.sideFiles.written.get(
      `${overlay}.json`,
    ) as Record<string, unknown>;
    assert.equal(parent, full);
    assert.equal((info as Record<string, unknown>).backing_file, point?.disks[1]?.imagePath.split('/').at(-1));
  });

  test('never shrinks below its parent', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    for (const image of world.images.files.values()) image.virtualSizeBytes = 200 * gib;
    await world.backUp({ backupType: 'full' });
    const backupId = await world.start({ backupType: 'incremental' });
    const virtual = (await world.points()).points.at(-1)?.disks.map(({ virtualSizeBytes }) => virtualSizeBytes);
    assert.deepEqual(
      (await world.jobOf(backupId)).disks.map(({ capacityBytes }) => capacityBytes),
      virtual,
    );
  });
});

test('two repositories have chains of their own', async () => {
  const world = await createReadyWorld();
  await world.addRepository('repo-2', '/backup/second');
  await world.backUp();
  await assert.rejects(world.start({ repositoryId: 'repo-2', backupType: 'incremental' }), {
    code: 'no-previous-backup',
  });
  const other = await world.backUp({ repositoryId: 'repo-2' }, 2);
  const onFirst = await world.start({ backupType: 'incremental' });
  assert.ok((await world.jobOf(onFirst)).disks.every(({ base }) => base?.changeId?.endsWith('/1')));
  assert.ok((await world.jobOf(other)).disks.every(({ imagePath }) => imagePath.startsWith('/backup/second/')));
  assert.equal((await world.jobOf(onFirst)).repositoryId, repositoryId);
});
