import assert from 'node:assert/strict';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { startFakeNode } from '../support/fake-node.ts';
import { makeLabVm } from '../support/lab-vm.ts';
import type { WireBackup, WireError } from '../support/wire.ts';
import { mib, World } from '../support/world.ts';

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

describe('what is refused, and how', () => {
  let world: World;
  let full: WireBackup;
  let failed: WireBackup;
  before(async () => {
    world = await World.open();
    full = await world.backUp('full');
    const { backup_id } = await world.start('full');
    await world.call('POST', `/telemetry/backup/${backup_id}`, { body: { status: 'failed', error: 'given up' } });
    failed = await world.ended(backup_id);
    await addOddVms();
  });
  after(() => world.close());

  const addOddVms = async (): Promise<void> => {
    const disks = [{ sizeBytes: 8 * mib, dataBytes: mib }];
    await makeLabVm(world.vms, { name: 'loginless', disks });
    await makeLabVm(world.vms, { name: 'second', disks });
    const typedIn = { vcenter: 'lab', username: 'lab', password: 'lab-password', datacenter: 'lab' };
    await world.call('POST', '/discovery/add-vms', { body: { ...typedIn, vm_names: ['loginless'] } });
    const second = { credential_name: 'second', vcenter_host: 'lab', username: 'lab', password: 'x' };
    await world.call('POST', '/vmware-credentials', { body: { ...second, datacenter: 'lab' } });
    await world.addVms(['second'], 2);
    await addDiskless();
  };

  /** The lab has no VM without disks; vCenter has. */
  const addDiskless = async (): Promise<void> => {
    const vm = {
      ...{ id: 'vm-1', name: 'diskless', path: '/lab/vm/diskless', datacenter: 'lab', power_state: 'poweredOff' },
      ...{ guest_os: 'linux', memory_mb: 1, num_cpu: 1, cpus: 0, os_type: '', vmx_version: '', display_name: '' },
      ...{
        annotation: '',
        folder_path: '',
        vmware_tools_status: '',
        vmware_tools_version: '',
        disks: [],
        networks: [],
      },
    };
    const node = await startFakeNode(() => ({ json: { vcenter: { host: 'lab', datacenter: 'lab' }, vms: [vm] } }));
    world.toNode.leadTo(node.url);
    world.toNode.cut();
    await world.addVms(['diskless']);
    world.toNode.leadTo(world.node.url);
    world.toNode.cut();
    await node.close();
  };

  /** One shape for all errors: JSON, a short text, a longer or empty one, and the time in UTC. */
  const refused = async (line: string, body: unknown, status: number, about: RegExp): Promise<WireError> => {
    const [method = '', path = ''] = line.split(' ');
    const reply = await world.call<WireError>(method, path, body === undefined ? {} : { body });
    assert.equal(reply.status, status, `${line} ${JSON.stringify(body)}: ${JSON.stringify(reply.body)}`);
    assert.match(reply.headers.get('content-type') ?? '', /^application\/json/);
    assert.match(reply.body.timestamp, rfc3339);
    assert.equal(typeof reply.body.details, 'string');
    assert.match(`${reply.body.error} ${reply.body.details}`, about);
    return reply.body;
  };
  const start = (more: object) => world.request('full', more);

  test('a start that is malformed: 400', async () => {
    await refused('POST /backups', '{"vm_name":', 400, /JSON/);
    await refused('POST /backups', {}, 400, /vm_name.*repository_id.*backup_type/);
    await refused('POST /backups', start({ vm_name: undefined }), 400, /vm_name/);
    await refused('POST /backups', start({ repository_id: '' }), 400, /repository_id/);
    await refused('POST /backups', start({ backup_type: 'differential' }), 400, /backup_type/);
  });

  test('a start of what does not exist: 404', async () => {
    await refused('POST /backups', start({ vm_name: 'nobody' }), 404, /nobody/);
    await refused('POST /backups', start({ vm_context_id: 'ctx-nobody' }), 404, /pgtest1/);
    await refused('POST /backups', start({ vm_name: 'diskless' }), 404, /disks/);
    await refused('POST /backups', start({ repository_id: 'repo-none' }), 404, /repo-none/);
    await refused('POST /backups', start({ policy_id: 'policy-none' }), 404, /policy-none/);
  });

  test('a start without a usable credential: 400 when there is none, 404 when it is not in use any more', async () => {
    await refused('POST /backups', start({ vm_name: 'loginless' }), 400, /credential_id/);
    const off = await world.call('PUT', '/vmware-credentials/2', { body: { is_active: false } });
    assert.equal(off.status, 200, JSON.stringify(off.body));
    await refused('POST /backups', start({ vm_name: 'second' }), 404, /credential/);
    await world.call('PUT', '/vmware-credentials/2', { body: { is_active: true } });
  });

  test('a start that conflicts: 409', async () => {
    const body = { name: 'off', type: 'local', config: { path: join(world.folder, 'off') }, enabled: false };
    const off = await world.call<{ repository: { id: string } }>('POST', '/repositories', { body });
    await refused('POST /backups', start({ repository_id: off.body.repository.id }), 409, /off/);
    const { backup_id } = await world.startSlowly('full');
    const { details } = await refused('POST /backups', start({ backup_type: 'incremental' }), 409, /running/);
    assert.equal(details, backup_id);
    await refused(`DELETE /backups/${backup_id}`, undefined, 409, /ended/);
    await world.brake.off();
    await world.ended(backup_id);
  });

  test('a start without a free port: 503, and without a place for an image: 500; the job has failed', async () => {
    const take = { job_id: 'hog', export_name: 'hog', disk_count: 19 };
    assert.equal((await world.call('POST', '/nbd/ports/allocate', { body: take })).status, 200);
    await refused('POST /backups', start({}), 503, /port/);
    await world.call('POST', '/nbd/ports/release', { body: { job_id: 'hog' } });
    const folder = dirname(full.disk_results[1]?.qcow2_path ?? '');
    const other = join(world.folder, 'blocked');
    const repositoryId = await world.addRepository('blocked', other);
    const inTheWay = folder.replace(world.repositoryPath, other);
    await mkdir(dirname(inTheWay), { recursive: true });
    await writeFile(inTheWay, '');
    await refused('POST /backups', start({ repository_id: repositoryId }), 500, /image of disk 1 cannot be made/);
    await rm(other, { recursive: true });
    const [newest] = await world.list('?vm_name=pgtest1');
    assert.equal((await world.ended(newest?.backup_id ?? '')).status, 'failed');
    await world.assertTidy();
  });

  test('a completion: 400 malformed, 404 unknown, 409 too late or contradicting, 200 repeated', async () => {
    const at = (id: string): string => `POST /backups/${id}/complete`;
    const known = full.disk_results[0]?.change_id ?? '';
    await refused(at(full.backup_id), 'nonsense', 400, /JSON/);
    await refused(at(full.backup_id), { change_id: '' }, 400, /change_id/);
    await refused(at(full.backup_id), {}, 400, /change_id/);
    await refused(at('backup-none-1'), { change_id: 'x/1' }, 404, /backup-none-1/);
    await refused(at(full.backup_id), { change_id: known, disk_id: 2 }, 404, /disk 2/);
    await refused(at(failed.backup_id), { change_id: 'x/1' }, 409, /failed/);
    await refused(at(full.backup_id), { change_id: 'another/9' }, 409, /another change id/);
    const body = { change_id: known, disk_id: 0, bytes_transferred: 0 };
    const repeat = await world.call('POST', `/backups/${full.backup_id}/complete`, { body });
    assert.equal(repeat.status, 200);
    assert.equal(repeat.body.change_id, known);
    assert.deepEqual(await world.show(full.backup_id), full);
  });

  test('what is asked for and is not there, or not asked for properly', async () => {
    for (const path of ['/backups/none', '/backups/none/disks', '/jobs/none/events', '/telemetry/history/none'])
      await refused(`GET ${path}`, undefined, 404, /none/);
    await refused('DELETE /backups/none', undefined, 404, /none/);
    await refused('GET /backups/changeid', undefined, 400, /vm_name/);
    await refused('GET /backups/changeid?vm_name=pgtest1&disk_id=two', undefined, 400, /disk_id/);
    await refused('GET /backups/changeid?vm_name=nobody', undefined, 404, /nobody/);
    await refused('GET /backups/changeid?vm_name=pgtest1&disk_id=7', undefined, 404, /7/);
    await refused('GET /backups/chain', undefined, 400, /vm_name/);
    await refused('GET /backups/chain?vm_name=pgtest1&disk_id=two', undefined, 400, /disk_id/);
    await refused('GET /backups/nobody/chain', undefined, 404, /nobody/);
    await refused('GET /backups/stats?vm_name=pgtest1', undefined, 400, /repository_id/);
    const empty = await world.call('GET', '/backups/chain?vm_name=loginless');
    assert.deepEqual([empty.status, empty.body.backup_count, empty.body.backups], [200, 0, []]);
  });

  test('telemetry: 400 malformed, 404 for nobody, 200 for whatever has ended', async () => {
    const at = `/telemetry/backup/${failed.backup_id}`;
    await refused(`POST ${at}`, '{', 400, /JSON/);
    await refused(`POST ${at}`, { status: 'asleep' }, 400, /status/);
    await refused(`POST /telemetry/nonsense/${failed.backup_id}`, {}, 400, /job_type/);
    await refused('POST /telemetry/backup/backup-none-1', {}, 404, /backup-none-1/);
    assert.equal((await world.call('POST', at, { body: { status: 'running' } })).status, 200);
    assert.deepEqual(await world.show(failed.backup_id), failed);
  });

  test('ports: leased all or none, repeatable, and released by their job alone', async () => {
    const allocate = (body: object) =>
      world.call<{ allocated_ports: { port: number; export_name: string }[]; expires_at: string }>(
        'POST',
        '/nbd/ports/allocate',
        { body },
      );
    const wanted = { job_id: 'copy-1', export_name: 'copy', disk_count: 2 };
    const first = await allocate(wanted);
    assert.deepEqual(
      first.body.allocated_ports.map(({ port, export_name: name }) => [port - world.firstPort, name]),
      [
        [0, 'copy-disk0'],
        [1, 'copy-disk1'],
      ],
    );
    assert.match(first.body.expires_at, rfc3339);
    assert.deepEqual((await allocate(wanted)).body, first.body);
    await refused('POST /nbd/ports/allocate', { ...wanted, disk_count: 3 }, 409, /copy/);
    await refused('POST /nbd/ports/allocate', { ...wanted, job_id: 'copy-2', disk_count: 19 }, 503, /19.*18|18.*19/);
    await refused('POST /nbd/ports/allocate', { ...wanted, disk_count: 0 }, 400, /disk_count/);
    await refused('POST /nbd/ports/allocate', { export_name: 'x' }, 400, /job_id/);
    const single = await allocate({ job_id: 'copy-3', export_name: 'single' });
    assert.equal(single.body.allocated_ports[0]?.export_name, 'single');
    const release = (body: object) => world.call('POST', '/nbd/ports/release', { body });
    assert.equal((await release({ job_id: 'copy-3', ports: [world.firstPort] })).body.released_count, 0);
    assert.equal((await release({ job_id: 'copy-1', ports: [world.firstPort] })).body.released_count, 1);
    assert.equal((await release({ job_id: 'copy-1' })).body.released_count, 1);
    assert.equal((await release({ job_id: 'copy-1' })).body.released_count, 0);
    assert.equal((await release({ job_id: 'copy-3' })).body.released_count, 1);
    await refused('POST /nbd/ports/release', {}, 400, /job_id/);
    const { body: pool } = await world.call('GET', '/nbd/ports/status');
    assert.deepEqual(pool, { total_ports: 20, allocated: 0, available: 20, allocations: [] });
  });

  test('exports by hand: served, listed, guarded and stopped', async () => {
    const image = full.disk_results[0]?.qcow2_path ?? '';
    const port = world.firstPort;
    const request = { export_name: 'look', port, qcow2_path: image, read_only: true };
    await refused('POST /nbd/qemu-nbd/start', request, 409, /not allocated/);
    const ports = { job_id: 'look', export_name: 'look', disk_count: 2 };
    await world.call('POST', '/nbd/ports/allocate', { body: ports });
    await refused('POST /nbd/qemu-nbd/start', { ...request, shared_connections: 4 }, 400, /shared_connections/);
    await refused('POST /nbd/qemu-nbd/start', { ...request, export_name: 'no spaces' }, 400, /export_name/);
    await refused('POST /nbd/qemu-nbd/start', { ...request, port: port - 1 }, 400, /port/);
    await refused('POST /nbd/qemu-nbd/start', { ...request, qcow2_path: 'image.qcow2' }, 400, /qcow2_path/);
    await refused('POST /nbd/qemu-nbd/start', { ...request, qcow2_path: '/etc/passwd' }, 400, /repositor/);
    const link = join(world.repositoryPath, 'link.qcow2');
    await symlink('/etc/passwd', link);
    await refused('POST /nbd/qemu-nbd/start', { ...request, qcow2_path: link }, 400, /repositor/);
    await rm(link);
    await refused('POST /nbd/qemu-nbd/start', { ...request, qcow2_path: `${image}.none` }, 404, /none/);
    const started = await world.call<{ pid: number; status: string }>('POST', '/nbd/qemu-nbd/start', { body: request });
    assert.equal(started.status, 200, JSON.stringify(started.body));
    assert.equal(started.body.status, 'running');
    await execa('nbdinfo', ['--is', 'read-only', `nbd://127.0.0.1:${port}/look`]);
    await refused('POST /nbd/qemu-nbd/start', request, 409, /served/);
    await refused('POST /nbd/ports/release', { job_id: 'look' }, 409, /port/);
    const { body: list } = await world.call<{ processes: Record<string, unknown>[] }>('GET', '/nbd/qemu-nbd/list');
    const { uptime_seconds: uptime, ...listed } = list.processes[0] ?? {};
    assert.ok(typeof uptime === 'number' && uptime >= 0);
    const { pid } = started.body;
    const facts = { pid, port, export_name: 'look', qcow2_path: image, connection_count: 0, shared_limit: 10 };
    assert.deepEqual(listed, facts);
    await refused('POST /nbd/qemu-nbd/stop', {}, 400, /pid or export_name/);
    await refused('POST /nbd/qemu-nbd/stop', { export_name: 'other' }, 404, /no export/);
    await refused('POST /nbd/qemu-nbd/stop', { pid: process.pid }, 404, /no export/);
    const stopped = await world.call('POST', '/nbd/qemu-nbd/stop', { body: { pid, export_name: 'look' } });
    assert.deepEqual(stopped.body, { success: true, stopped_pid: pid });
    await world.call('POST', '/nbd/ports/release', { body: { job_id: 'look' } });
    await world.assertTidy();
  });

  test('an export of a running backup that is stopped by hand fails the backup with who did it', async () => {
    const started = await world.startSlowly('full');
    const name = started.disk_results[0]?.nbd_export_name;
    const body = { export_name: name };
    assert.equal((await world.call('POST', '/nbd/qemu-nbd/stop', { body })).status, 200);
    const backup = await world.ended(started.backup_id);
    assert.equal(backup.status, 'failed');
    assert.match(backup.error_message ?? '', /stopped by user:/);
    await world.brake.off();
    await world.assertTidy();
  });
});
