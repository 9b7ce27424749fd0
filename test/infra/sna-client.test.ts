import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DomainError, type ErrorCode } from '#domain/errors.ts';
import { createSnaClient } from '#infra/sna-client.ts';
import { NodeRefused, NodeUnreachable } from '#process-managers/ports.ts';
import { type FakeNode, type NodeReply, startFakeNode } from '../support/fake-node.ts';

const password = 'geh"eim / 1';
const login = { vcenterHost: 'vc.example', username: 'backup@vsphere.local', password, datacenter: 'DC1' };
const transfer = {
  ...{ jobId: 'backup-pgtest1-1759901593', vmName: 'pgtest1', vmPath: '/DC1/vm/pgtest1' },
  ...{ vcenterHost: 'vc.example', username: 'backup@vsphere.local', password },
  nbdTargets: '2000:nbd://127.0.0.1:10104/pgtest1-disk-2000',
  backupType: 'full' as const,
};
const never = new AbortController().signal;

describe('the client of the node appliance', () => {
  let node: FakeNode;
  const client = (timeoutMs = 5_000) =>
    createSnaClient({
      baseUrl: `${node.url}/`,
      startTimeoutMs: timeoutMs,
      discoverTimeoutMs: timeoutMs,
      otherTimeoutMs: timeoutMs,
    });
  const says = (reply: NodeReply) => node.answerWith(() => reply);
  const refusedBy = async (call: Promise<unknown>, code: ErrorCode): Promise<DomainError> => {
    const error = await call.then(
      () => assert.fail('expected a refusal'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof DomainError, String(error));
    assert.equal(error.code, code);
    assert.ok(!JSON.stringify([error.message, error.details]).includes('eim / 1'), 'the password is in the error');
    return error;
  };
  const thrownBy = async (call: Promise<unknown>): Promise<unknown> =>
    call.then(
      () => assert.fail('expected an error'),
      (reason: unknown) => reason,
    );

  before(async () => {
    node = await startFakeNode(() => 'silence');
  });
  after(() => node.close());

  for (const status of [200, 202]) {
    test(`starts a backup with the fields of the node's API and takes ${status} for yes`, async () => {
      says({ status, json: { job_id: transfer.jobId, status: 'started', message: '', started_at: '', pid: 18231 } });
      const sent = node.requests.length;
      assert.deepEqual(await client().startBackup(transfer, never), { pid: 18231 });
      assert.deepEqual(node.requests.slice(sent), [
        {
          method: 'POST',
          path: '/api/v1/backup/start',
          body: {
            ...{ job_id: transfer.jobId, vm_name: 'pgtest1', vm_path: '/DC1/vm/pgtest1', vcenter_host: 'vc.example' },
            ...{ vcenter_user: 'backup@vsphere.local', vcenter_password: password, nbd_targets: transfer.nbdTargets },
            ...{ backup_type: 'full', nbd_host: '127.0.0.1' },
          },
        },
      ]);
    });
  }

  test('sends the change id of an incremental backup', async () => {
    says({ json: { job_id: transfer.jobId } });
    const request = { ...transfer, backupType: 'incremental', previousChangeId: '52 ab/7' } as const;
    assert.deepEqual(await client().startBackup(request, never), { pid: null });
    const sent = node.requests.at(-1)?.body as { previous_change_id: string } | undefined;
    assert.equal(sent?.previous_change_id, '52 ab/7');
  });

  const nonsense: readonly (readonly [string, NodeReply, RegExp])[] = [
    ['an error', { status: 500, text: 'cannot start\n the client' }, /^cannot start the client$/],
    ['a page of HTML', { status: 200, text: '<html><body>nginx</body></html>' }, /not JSON: <html>/],
    ['another success than it may', { status: 204, text: '' }, /^$/],
    ['JSON of another kind', { json: ['started'] }, /not as agreed/],
    ['another job', { json: { job_id: 'backup-other-1', pid: 1 } }, /another job, backup-other-1/],
    ['a redirect', { status: 307, text: '', headers: { location: 'http://127.0.0.1:1/steal' } }, /^$/],
    ['a body without an end', 'endless', /longer than 16 MiB/],
    ['something that is not HTTP', 'no-http', /not HTTP/],
  ];
  for (const [what, reply, text] of nonsense) {
    test(`takes ${what} for a refusal of the start`, async () => {
      says(reply);
      const error = await thrownBy(client().startBackup(transfer, never));
      assert.ok(error instanceof NodeRefused, String(error));
      assert.match(error.body, text);
    });
  }

  test('cuts long error texts and takes the password out of them, however it is written', async () => {
    const echoed = [password, JSON.stringify(password), encodeURIComponent(password)].join(' and ');
    says({ status: 400, text: `bad login ${echoed} ${'x'.repeat(2_000)}` });
    const error = await thrownBy(client().startBackup(transfer, never));
    assert.ok(error instanceof NodeRefused);
    assert.equal(error.status, 400);
    assert.match(error.body, /^bad login \[redacted\] and "\[redacted\]" and \[redacted\] x+$/);
    assert.equal(error.body.length, 500);
  });

  test('knows for certain that nothing was started only when nobody listens', async () => {
    const gone = await startFakeNode(() => 'silence');
    await gone.close();
    const nobody = await thrownBy(createSnaClient({ baseUrl: gone.url }).startBackup(transfer, never));
    assert.ok(nobody instanceof NodeUnreachable);
    assert.equal(nobody.sent, false);

    says('hangs-up');
    const broken = await thrownBy(client().startBackup(transfer, never));
    assert.ok(broken instanceof NodeUnreachable);
    assert.equal(broken.sent, true);

    says('silence');
    const silent = await thrownBy(client(50).startBackup(transfer, never));
    assert.ok(silent instanceof NodeUnreachable);
    assert.equal(silent.sent, true);
    assert.match(silent.message, /within 0.05 s/);
  });

  test('stops at once when the caller does, with the reason of the caller', async () => {
    says('silence');
    const stop = new AbortController();
    const started = client().startBackup(transfer, stop.signal);
    stop.abort(new Error('the hub stops'));
    await assert.rejects(started, /the hub stops/);
    await assert.rejects(client().startBackup(transfer, stop.signal), /the hub stops/);
  });

  test('opens a connection for each call: one that was kept may be dead, and a start must not be repeated', async () => {
    node.answerWith((_request, { closes }) => ({ json: { job_id: transfer.jobId, pid: closes ? 1 : 0 } }));
    assert.deepEqual(await client().startBackup(transfer, never), { pid: 1 });
  });

  test('tells whether the node knows a job', async () => {
    says({ json: { job_id: 'backup-a b/c-1', status: 'running' } });
    assert.equal(await client().knowsJob('backup-a b/c-1', never), true);
    assert.equal(node.requests.at(-1)?.path, '/api/v1/status/backup-a%20b%2Fc-1');
    says({ status: 404, text: 'job not found' });
    assert.equal(await client().knowsJob('backup-a-1', never), false);
    says({ status: 200, text: 'fine' });
    assert.ok((await thrownBy(client().knowsJob('backup-a-1', never))) instanceof NodeRefused);
  });

  test('cancels a job, and is content with a node that has no such call', async () => {
    says({ json: { job_id: 'backup-a-1', status: 'cancelled', message: '' } });
    assert.equal(await client().cancelBackup('backup-a-1', never), true);
    assert.deepEqual(node.requests.at(-1), {
      ...{ method: 'POST', path: '/api/v1/backup/cancel', body: { job_id: 'backup-a-1' } },
    });
    for (const status of [404, 405]) {
      says({ status, text: 'no' });
      assert.equal(await client().cancelBackup('backup-a-1', never), false);
    }
    says({ status: 500, text: 'kill failed' });
    assert.ok((await thrownBy(client().cancelBackup('backup-a-1', never))) instanceof NodeRefused);
  });

  test('discovers what an appliance in the field tells, with gaps and nulls', async () => {
    says({
      json: {
        vcenter: { host: 'vc.example', datacenter: 'DC1' },
        vms: [
          {
            ...{ id: '420570c7', name: 'pgtest1', path: '/DC1/vm/pgtest1', power_state: 'poweredOn', os_type: '' },
            ...{ guest_os: 'windows', memory_mb: 8192, num_cpu: 2, cpus: 0, vmx_version: 'vmx-19' },
            disks: [
              {
                ...{ id: 'disk-2000', label: 'Hard disk 1', path: '', vmdk_path: '[ds1] a.vmdk', size_gb: 101.2 },
                ...{ capacity_bytes: 109521666048, datastore: 'ds1', provisioning_type: 'thin', unit_number: 0 },
              },
            ],
            networks: [{ label: 'Network adapter 1', network_name: 'VLAN 253', mac_address: '00:50:56:85:3c:59' }],
          },
          { name: 'halfway', disks: null, networks: null },
        ],
      },
    });
    const found = await client().discover({ ...login, filter: 'pg' }, never);
    assert.deepEqual(node.requests.at(-1)?.body, {
      ...{ vcenter: 'vc.example', username: 'backup@vsphere.local', password, datacenter: 'DC1', filter: 'pg' },
    });
    const nothing = { id: '', path: '', powerState: '', guestOs: '', memoryMb: 0, cpuCount: 0, vmxVersion: '' };
    assert.deepEqual(found, {
      vcenterHost: 'vc.example',
      datacenter: 'DC1',
      vms: [
        {
          ...{ id: '420570c7', name: 'pgtest1', path: '/DC1/vm/pgtest1', powerState: 'poweredOn', guestOs: 'windows' },
          ...{ memoryMb: 8192, cpuCount: 2, vmxVersion: 'vmx-19', toolsVersion: '' },
          disks: [
            {
              ...{ id: 'disk-2000', label: 'Hard disk 1', path: '[ds1] a.vmdk', datastore: 'ds1', sizeGb: 102 },
              ...{ capacityBytes: 109521666048, provisioningType: 'thin', unitNumber: 0 },
            },
          ],
          networks: [{ label: 'Network adapter 1', networkName: 'VLAN 253', macAddress: '00:50:56:85:3c:59' }],
        },
        { ...nothing, name: 'halfway', toolsVersion: '', disks: [], networks: [] },
      ],
    });
  });

  const failures: readonly (readonly [string, NodeReply, ErrorCode])[] = [
    [
      'a login that vCenter refused',
      { status: 500, text: `Failed to connect to vCenter: ${password}` },
      'source-refused',
    ],
    ['an unknown datacenter', { status: 500, text: 'failed to find datacenter DC9' }, 'source-refused'],
    ['any other error of the node', { status: 500, text: `panic: ${password}` }, 'node-error'],
    ['an answer that is no discovery', { json: { vms: 'many' } }, 'node-error'],
    ['an answer that is no JSON', { status: 200, text: `<p>${password}</p>` }, 'node-error'],
    ['a connection that broke', 'hangs-up', 'node-unreachable'],
    ['silence', 'silence', 'node-timeout'],
    ['an answer that stops in the middle', 'stalls-in-the-body', 'node-timeout'],
  ];
  for (const [what, reply, code] of failures) {
    test(`tells ${what} by ${code}`, async () => {
      says(reply);
      await refusedBy(client(300).discover(login, never), code);
    });
  }
});
