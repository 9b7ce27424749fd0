import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type FakeNode, type NodeReply, type NodeRequest, startFakeNode } from '../support/fake-node.ts';
import { makeLabVm } from '../support/lab-vm.ts';
import type { WireBackup, WireError } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

/** Telemetry comes every 5 s: a healthy job must not count as silent. */
const settings = {
  SENDENSE_STALL_SECONDS: '6',
  SENDENSE_STALE_FAIL_SECONDS: '9',
  SENDENSE_START_FAIL_SECONDS: '6',
  SENDENSE_STALE_CHECK_SECONDS: '1',
};

const listenOn = async (port: number): Promise<Server> => {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
};

describe('trouble with the node appliance and with ports', () => {
  let world: World;
  let earlier: WireBackup;
  let kept: Kept;
  let hanging: FakeNode;
  const fakes: FakeNode[] = [];
  before(async () => {
    world = await World.open({ settings, portCount: 4 });
    kept = await world.keep();
    earlier = await world.backUp('full');
    await makeLabVm(world.vms, { name: 'pgtest2', disks: [{ sizeBytes: 16 * mib, dataBytes: mib }] });
    await world.addVms(['pgtest2']);
  });
  after(async () => {
    await Promise.all(fakes.map((fake) => fake.close()));
    await world.close();
  });

  const insteadOfTheNode = async (answer: (request: NodeRequest) => NodeReply): Promise<FakeNode> => {
    const fake = await startFakeNode(answer);
    fakes.push(fake);
    world.toNode.leadTo(fake.url);
    world.toNode.cut();
    return fake;
  };

  const nodeIsBack = (): void => {
    world.toNode.leadTo(world.node.url);
    world.toNode.cut();
  };

  /** The newest backup of the VM, which has failed, freed everything and told why. */
  const assertFailed = async (reason: RegExp): Promise<void> => {
    const [newest] = await world.list(`?vm_name=${world.vm.name}`);
    const failed = await world.ended(newest?.backup_id ?? '');
    assert.equal(failed.status, 'failed');
    assert.match(failed.error_message ?? '', reason);
    await world.assertIdentical(earlier, kept);
  };

  const ask = () => world.call<WireError>('POST', '/backups', { body: world.request('full') });

  test('a port of the pool that a stranger has is passed over', async () => {
    const stranger = await listenOn(world.firstPort);
    try {
      const { disk_results: disks, backup_id } = await world.start('full');
      assert.deepEqual(
        disks.map(({ nbd_port: port }) => port),
        [world.firstPort + 1, world.firstPort + 2],
      );
      const backup = await world.ended(backup_id);
      assert.equal(backup.status, 'completed', backup.error_message ?? '');
      await world.assertIdentical(backup, kept);
    } finally {
      stranger.close();
    }
    await world.assertTidy();
  });

  test('a pool that strangers have is exhausted: 503, and the job fails without a trace', async () => {
    const strangers = await Promise.all([0, 1, 2].map((offset) => listenOn(world.firstPort + offset)));
    try {
      const { status, body } = await ask();
      assert.equal(status, 503, JSON.stringify(body));
      assert.match(body.error, /port/);
    } finally {
      for (const stranger of strangers) stranger.close();
    }
    await assertFailed(/port/);
    await world.assertTidy();
  });

  test('unreachable at the start: 503', async () => {
    world.toNode.leadTo(undefined);
    world.toNode.cut();
    const { status, body } = await ask();
    assert.equal(status, 503, JSON.stringify(body));
    assert.match(body.error, /node appliance cannot be reached/);
    nodeIsBack();
    await assertFailed(/node appliance cannot be reached/);
    await world.assertTidy();
  });

  const broken: readonly (readonly [string, NodeReply, number, RegExp])[] = [
    ['answers 500', { status: 500, text: 'out of descriptors' }, 502, /500.*out of descriptors/],
    ['answers 409', { status: 409, text: 'no' }, 502, /409/],
    ['answers a page instead of JSON', { status: 200, text: '<html>' }, 502, /\w/],
    ['answers another job', { json: { hello: 'world' } }, 502, /\w/],
    ['does not speak HTTP', 'no-http', 502, /\w/],
    ['hangs up', 'hangs-up', 503, /\w/],
    ['never stops answering', 'endless', 502, /\w/],
  ];
  for (const [what, reply, expected, details] of broken) {
    test(`a node that ${what}: ${expected}, and nothing is left`, async () => {
      await insteadOfTheNode(() => reply);
      const { status, body } = await ask();
      nodeIsBack();
      assert.equal(status, expected, JSON.stringify(body));
      assert.match(`${body.error} ${body.details}`, details);
      await assertFailed(/node/);
      await world.assertTidy();
    });
  }

  let hangingBackup: Promise<Readonly<{ status: number; body: WireError }>> | undefined;
  test('a node that does not answer holds up nobody else', async () => {
    hanging = await insteadOfTheNode(() => 'silence');
    const body = world.request('full', { vm_name: 'pgtest2' });
    hangingBackup = world.call<WireError>('POST', '/backups', { body });
    await eventually('the node has been asked', () => hanging.requests.some(({ path }) => path.endsWith('/start')));
    world.toNode.leadTo(world.node.url);
    await world.assertIdentical(await world.backUp('full'), kept);
  });

  test('a node that takes the job and is never heard of: the job fails', async () => {
    await insteadOfTheNode(({ body }) => {
      const { job_id } = body as { job_id: string };
      return { json: { job_id, status: 'started', message: '', started_at: new Date().toISOString(), pid: 1 } };
    }).then(() => world.start('full'));
    await assertFailed(/^Job stalled - no telemetry for \d+s/);
    nodeIsBack();
  });

  const freezeTransfer = async (): Promise<readonly number[]> => {
    const programs = [...(await world.pidsOf('nbdcopy')), ...(await world.pidsOf('nbdkit'))];
    const pids = [world.node.pid, ...programs];
    for (const pid of pids) world.freeze(pid);
    return pids;
  };

  const untilStalled = (backupId: string): Promise<unknown> =>
    eventually('the job is stalled', async () => (await world.show(backupId)).status === 'stalled');

  test('silent in the middle for a while: the job stalls, goes on and completes', async () => {
    const { backup_id } = await world.startSlowly('full');
    const frozen = await freezeTransfer();
    await untilStalled(backup_id);
    await world.brake.off();
    for (const pid of frozen) world.thaw(pid);
    const backup = await world.ended(backup_id);
    assert.equal(backup.status, 'completed', backup.error_message ?? '');
    await world.assertIdentical(backup, kept);
    const types = (await world.events(backup_id)).map(({ type }) => type);
    assert.ok(types.includes('BackupStalled') && types.includes('BackupResumed'), types.join());
  });

  test('silent in the middle for good: the job stalls, then fails, and everything is freed without the node', async () => {
    const { backup_id } = await world.startSlowly('full');
    const frozen = await freezeTransfer();
    await untilStalled(backup_id);
    await assertFailed(/^Job stalled - no telemetry for \d+s/);
    await world.brake.off();
    for (const pid of frozen) world.thaw(pid);
    await eventually('the client ends by itself', async () => (await world.pidsOf('nbdcopy')).length === 0);
    await world.assertIdentical(await world.backUp('full'), kept);
  });

  test('a node that did not answer in time: 503, and its job is free for the next', async () => {
    const { status, body } = (await hangingBackup) ?? { status: 0, body: { error: '' } };
    assert.equal(status, 503, JSON.stringify(body));
    assert.match(body.error, /node appliance cannot be reached/);
    await world.backUp('full', { vm_name: 'pgtest2' });
    await world.assertTidy();
  });
});
