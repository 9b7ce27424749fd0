import assert from 'node:assert/strict';
import { mkdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { execa } from 'execa';
import { DiscoverReply } from '#wire/node-api.ts';
import { Lab, mib } from './lab.ts';

const small = { sizeBytes: 16 * mib, dataBytes: mib };
const login = { vcenter: 'vc.example', username: 'user', password: 'word', datacenter: 'lab' };

const describeVm = async (lab: Lab, folder: string, vm: object): Promise<string> => {
  const path = join(lab.root, folder);
  await mkdir(path);
  await writeFile(join(path, 'vm.json'), JSON.stringify(vm));
  return path;
};

const discovered = async (lab: Lab, filter?: string) => {
  const { status, text } = await lab.call('POST', '/discover', { ...login, ...(filter ? { filter } : {}) });
  assert.equal(status, 200, text);
  return DiscoverReply.parse(JSON.parse(text)).vms;
};

describe("the node's API", () => {
  test('discovers VMs as a vCenter would, with exact capacities and ids that stay', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({
      name: 'pgtest1',
      guestOs: 'windows2019srv_64Guest',
      disks: [small, { ...small, format: 'qcow2' }],
    });
    await truncate(vm.disks[0] ?? '', 16 * mib + 1);
    await lab.startNode();
    const [first] = await discovered(lab);
    assert.equal(first?.path, '/lab/vm/pgtest1');
    assert.equal(first.guest_os, 'windows');
    assert.deepEqual([first.num_cpu, first.cpus, first.memory_mb], [2, 0, 4096]);
    assert.deepEqual(
      first.disks.map(({ id, label, capacity_bytes, size_gb, path }) => ({ id, label, capacity_bytes, size_gb, path })),
      [
        {
          id: 'disk-2000',
          label: 'Hard disk 1',
          capacity_bytes: 16 * mib + 1,
          size_gb: 1,
          path: '[lab] pgtest1/disk-0.raw',
        },
        {
          id: 'disk-2001',
          label: 'Hard disk 2',
          capacity_bytes: 16 * mib,
          size_gb: 1,
          path: '[lab] pgtest1/disk-1.qcow2',
        },
      ],
    );
    assert.equal(first.networks[0]?.mac_address, '00:50:56:00:00:01');
    await lab.node?.close();
    await lab.startNode();
    assert.equal((await discovered(lab))[0]?.id, first.id);
  });

  test('leaves out broken folders and keeps the others', async (t) => {
    const lab = await Lab.open(t);
    await lab.makeVm({ name: 'good', disks: [small] });
    const secret = join(lab.folder, 'secret.raw');
    await writeFile(secret, Buffer.alloc(mib));
    const outside = await describeVm(lab, 'outside', { name: 'outside', disks: [{ file: '../../secret.raw' }] });
    const linked = await describeVm(lab, 'linked', { name: 'linked', disks: [{ file: 'disk.raw' }] });
    await symlink(secret, join(linked, 'disk.raw'));
    const backed = await describeVm(lab, 'backed', { name: 'backed', disks: [{ file: 'disk.qcow2' }] });
    const overlay = ['create', '-q', '-f', 'qcow2', '-b', secret, '-F', 'raw', join(backed, 'disk.qcow2')];
    await execa('qemu-img', overlay);
    await describeVm(lab, 'absent', { name: 'absent', disks: [{ file: 'none.raw' }] });
    await describeVm(lab, 'nameless', { disks: [{ file: 'none.raw' }] });
    await describeVm(lab, 'twin', { name: 'good', disks: [{ file: 'disk.raw' }] });
    await writeFile(join(lab.root, 'twin', 'disk.raw'), Buffer.alloc(mib));
    await writeFile(join(outside, '..', 'stray.txt'), 'not a folder');
    await lab.startNode();
    assert.deepEqual(
      (await discovered(lab)).map(({ name }) => name),
      ['good'],
    );
    const start = {
      ...lab.request({ name: 'linked', path: '/lab/vm/linked', folder: linked, disks: [] }, []),
      nbd_targets: 'x',
    };
    const { status, text } = await lab.call('POST', '/backup/start', start);
    assert.equal(status, 400);
    assert.match(text, /linked \(disk file 'disk.raw' lies outside the folder\)/);
  });

  test('a raw disk that begins like a qcow2 image stays a raw disk', async (t) => {
    const lab = await Lab.open(t);
    const folder = await describeVm(lab, 'sly', { name: 'sly', disks: [{ file: 'disk.raw' }] });
    const disk = join(folder, 'disk.raw');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', '/etc/hostname', '-F', 'raw', '-u', disk, '1G']);
    await truncate(disk, 4 * mib);
    await lab.startNode();
    assert.deepEqual(
      (await discovered(lab))[0]?.disks.map(({ capacity_bytes }) => capacity_bytes),
      [4 * mib],
    );
    const vm = { name: 'sly', path: '/lab/vm/sly', folder, disks: [disk] };
    const exports = await lab.prepare(vm);
    assert.equal((await lab.backUp(lab.request(vm, exports), exports)).status, 'completed');
    await lab.assertIdentical(vm, exports);
  });

  test('filters by parts of names', async (t) => {
    const lab = await Lab.open(t);
    for (const name of ['web-1', 'web-2', 'db']) await lab.makeVm({ name, disks: [small] });
    await lab.startNode();
    assert.deepEqual(
      (await discovered(lab, 'WEB')).map(({ name }) => name),
      ['web-1', 'web-2'],
    );
    assert.deepEqual(
      (await discovered(lab, 'web-2, d')).map(({ name }) => name),
      ['db', 'web-2'],
    );
    assert.deepEqual(await discovered(lab, 'none'), []);
  });

  test('refuses a wrong login and an unknown datacenter in the words that the hub recognises', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'pgtest1', disks: [small] });
    await lab.startNode({ login: { username: 'user', password: 'word' } });
    assert.equal((await discovered(lab)).length, 1);
    const wrong = await lab.call('POST', '/discover', { ...login, password: 'guess' });
    assert.deepEqual([wrong.status, wrong.type], [500, 'text/plain; charset=utf-8']);
    assert.match(wrong.text, /^failed to connect to vCenter: /);
    const elsewhere = await lab.call('POST', '/discover', { ...login, datacenter: 'DC9' });
    assert.equal(elsewhere.status, 500);
    assert.match(elsewhere.text, /^failed to find datacenter/);
    const exports = await lab.prepare(vm);
    const start = await lab.call('POST', '/backup/start', lab.request(vm, exports));
    assert.match(start.text, /^failed to connect to vCenter: /);
  });

  test('answers wrong bodies with 400 and a sentence', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'pgtest1', disks: [small, small] });
    await lab.startNode();
    const good = lab.request(vm, await lab.prepare(vm));
    const [first = '', second = ''] = good.nbd_targets.split(',');
    const wrong: readonly [unknown, RegExp][] = [
      ['{', /JSON/],
      [{ ...good, job_id: '' }, /job_id/],
      [{ ...good, backup_type: 'differential' }, /backup_type/],
      [{ ...good, backup_type: 'incremental' }, /previous_change_id/],
      [{ ...good, vm_path: '/lab/vm/none' }, /VM not found/],
      [{ ...good, nbd_targets: 'nonsense' }, /nbd_targets/],
      [{ ...good, nbd_targets: first }, /no target for Hard disk 2/],
      [{ ...good, nbd_targets: `${first},${first}` }, /share one disk key/],
      [{ ...good, nbd_targets: `${first},2001${first.slice(4)}` }, /share one export/],
      [{ ...good, nbd_targets: `${first},${second},2002:nbd://127.0.0.1:1/x` }, /no disk with key 2002/],
      [{ ...good, nbd_targets: `${first},2001:nbd://192.0.2.1:10809/x` }, /not this host/],
      [{ ...good, nbd_targets: `${first},2001:nbd+unix:///x?socket=/tmp/s` }, /nbd_targets/],
    ];
    for (const [body, reason] of wrong) {
      const { status, text, type } = await lab.call('POST', '/backup/start', body);
      assert.equal(status, 400, text);
      assert.match(text, reason);
      assert.match(type, /text\/plain/);
    }
    assert.equal((await lab.call('POST', '/cleanup', { job_id: 'x', action: 'explode' })).status, 400);
    assert.equal((await lab.call('GET', '/progress/none')).text, 'job not found');
    assert.equal((await lab.call('GET', '/nowhere')).status, 404);
  });

  test("keeps other clients' progress and serves the rest of the documented calls", async (t) => {
    const lab = await Lab.open(t);
    await lab.startNode();
    const update = { stage: 'Transfer', bytes_transferred: 50, total_bytes: 200, throughput_bps: 2 * mib };
    const first = await lab.call('POST', '/progress/job-1/update', update);
    assert.deepEqual(JSON.parse(first.text), { status: 'success', job_id: 'job-1', auto_initialized: true });
    const second = await lab.call('POST', '/progress/job-1/update', { ...update, bytes_transferred: 100 });
    assert.deepEqual(JSON.parse(second.text), { status: 'success', job_id: 'job-1' });
    const progress = await lab.progress('job-1');
    assert.deepEqual([progress.percentage, progress.throughput.current_mbps, progress.phase], [50, 2, 'Transfer']);
    assert.equal(JSON.parse((await lab.call('GET', '/status/job-1')).text).progress_percent, 50);
    const cleanup = await lab.call('POST', '/cleanup', { job_id: 'job-1', action: 'cleanup_all' });
    assert.deepEqual(JSON.parse(cleanup.text), { status: 'success', job_id: 'job-1', action: 'cleanup_all' });
    assert.equal(JSON.parse((await lab.call('PUT', '/config', { nbd_port: 10809 })).text).status, 'success');
    assert.equal(JSON.parse((await lab.call('GET', '/health')).text).status, 'healthy');
  });

  test('is closed to web pages', async (t) => {
    const lab = await Lab.open(t);
    await lab.startNode();
    const page = await lab.call('POST', '/backup/cancel', { job_id: 'x' }, { origin: 'http://evil.example' });
    assert.equal(page.status, 403);
  });

  test('a root that is not a folder stops the start with a sentence', async (t) => {
    const lab = await Lab.open(t);
    await rm(lab.root, { recursive: true });
    await assert.rejects(lab.startNode(), /root of the lab's VMs is not a folder/);
  });
});
