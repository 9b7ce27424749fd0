import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { execa } from 'execa';
import { changeExtents } from '../support/lab-vm.ts';
import { Lab, mib, processesNaming } from './lab.ts';
import { until } from './until.ts';

const disks = [
  { sizeBytes: 64 * mib, dataBytes: 16 * mib },
  { sizeBytes: 64 * mib, dataBytes: 16 * mib },
] as const;
const slow = 4 * mib;

const copying = (lab: Lab) =>
  processesNaming(lab.dataDir).then((lines) => lines.filter((line) => /nbdcopy|nbdkit/.test(line)));

/** A node with a backup in the middle of its transfer. */
const midTransfer = async (lab: Lab) => {
  const vm = await lab.makeVm({ name: 'pgtest1', disks });
  await lab.startNode();
  const exports = await lab.prepare(vm, undefined, slow);
  const request = lab.request(vm, exports);
  const running = lab.backUp(request, exports);
  await lab.phase(request.job_id, 'transferring');
  return { vm, exports, request, running };
};

describe('on a bad day', { concurrency: 2 }, () => {
  test('a cancelled backup ends at once, leaves nothing, and the hub is told', async (t) => {
    const lab = await Lab.open(t);
    const { vm, request, running } = await midTransfer(lab);
    const answer = await lab.call('POST', '/backup/cancel', { job_id: request.job_id });
    assert.equal(answer.status, 200);
    assert.equal(JSON.parse(answer.text).status, 'cancelled');
    assert.deepEqual(await copying(lab), []);
    assert.equal((await running).status, 'cancelled');
    const failure = await lab.hub.failureOf(request.job_id);
    assert.deepEqual(failure.error, { ...Object(failure.error), code: 'cancelled' });

    assert.equal((await lab.call('POST', '/backup/cancel', { job_id: request.job_id })).status, 200);
    assert.equal((await lab.call('POST', '/backup/cancel', { job_id: 'backup-unknown-1' })).status, 404);
    const next = await lab.prepare(vm);
    assert.equal((await lab.backUp(lab.request(vm, next), next)).status, 'completed', 'its snapshot is gone');
  });

  test('a backup whose export dies fails with its reason and leaves nothing', async (t) => {
    const lab = await Lab.open(t);
    const { exports, request, running } = await midTransfer(lab);
    await exports[1]?.kill();
    const ended = await running;
    assert.equal(ended.status, 'failed');
    assert.match(ended.last_error ?? '', /transfer of Hard disk 2 failed: nbdcopy/);
    assert.deepEqual(await copying(lab), []);
    const failure = await lab.hub.failureOf(request.job_id);
    assert.equal(Object(failure.error).code, 'transfer_failed');
    assert.equal(failure.disks?.[1]?.status, 'failed');
    assert.deepEqual(lab.hub.completions, []);
  });

  test('a hub that is away when a disk completes is waited for', async (t) => {
    const lab = await Lab.open(t);
    const { request, running, vm, exports } = await midTransfer(lab);
    await lab.hub.stop();
    await until(async () => (await lab.progress(request.job_id)).phase === 'finalizing', 30_000);
    await lab.hub.start();
    assert.equal((await running).status, 'completed');
    assert.equal(lab.hub.completions.length, 2);
    await lab.assertIdentical(vm, exports);
  });

  test('a hub that stays away ends the backup after the limit', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'alone', disks });
    await lab.startNode({ hubGiveUpAfterMs: 500 });
    const exports = await lab.prepare(vm);
    await lab.hub.stop();
    const ended = await lab.backUp(lab.request(vm, exports), exports);
    assert.equal(ended.status, 'failed');
    assert.match(ended.last_error ?? '', /hub not reachable/);
  });

  test('a completion that the hub refuses is final', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'refused', disks });
    await lab.startNode();
    lab.hub.refuseCompletion = 409;
    const exports = await lab.prepare(vm);
    const ended = await lab.backUp(lab.request(vm, exports), exports);
    assert.equal(ended.status, 'failed');
    assert.match(ended.last_error ?? '', /hub refused: .*409/);
  });

  test('a node that is killed takes its programs along; its next start reports and cleans up', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'victim', disks });
    const exports = await lab.prepare(vm, undefined, slow);
    const request = lab.request(vm, exports);
    const child = await lab.startNodeProcess();
    await lab.call('POST', '/backup/start', request);
    await lab.phase(request.job_id, 'transferring');
    assert.notDeepEqual(await copying(lab), []);
    await child.end('SIGKILL');
    await until(async () => (await copying(lab)).length === 0);

    await lab.startNode();
    const failure = await lab.hub.failureOf(request.job_id);
    assert.equal(Object(failure.error).code, 'node_restarted');
    assert.equal((await lab.progress(request.job_id)).status, 'failed');
    assert.deepEqual(await readdir(join(lab.dataDir, 'run')), []);
    const next = await lab.prepare(vm);
    assert.equal((await lab.backUp(lab.request(vm, next), next)).status, 'completed');
    await lab.assertIdentical(vm, next);
  });

  test('no change is missed when the node is killed while it looks for changes', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'tracked', disks: disks.slice(0, 1) });
    await lab.startNode();
    const full = await lab.prepare(vm);
    await lab.backUp(lab.request(vm, full), full);
    await lab.node?.close();
    for (const round of [1, 2, 3]) {
      const child = await lab.startNodeProcess();
      await changeExtents(vm.disks[0] ?? '', { count: 6, sizeBytes: mib / 2, seed: `round ${round}` });
      const touched = () =>
        processesNaming(lab.dataDir).then((lines) => lines.some((line) => /perl|nbdcopy/.test(line)));
      await until(touched, 2_000).catch(() => undefined); // where it dies does not matter, as long as it varies
      await child.end('SIGKILL');
    }
    await lab.startNode();
    const next = await lab.prepare(vm, full);
    await lab.backUp(lab.incremental(vm, next), next);
    await lab.assertIdentical(vm, next);
  });

  test('a node that is stopped cancels its jobs and says so', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'stopped', disks });
    const exports = await lab.prepare(vm, undefined, slow);
    const request = lab.request(vm, exports);
    const child = await lab.startNodeProcess();
    await lab.call('POST', '/backup/start', request);
    await lab.phase(request.job_id, 'transferring');
    await child.end('SIGTERM');
    const failure = await lab.hub.failureOf(request.job_id);
    assert.deepEqual(failure.error, { ...Object(failure.error), code: 'node_stopping', message: 'node is stopping' });
    assert.deepEqual(await processesNaming(lab.dataDir), []);
    await assert.rejects(readFile(join(lab.dataDir, 'node.json')), { code: 'ENOENT' });
  });

  test('a second node on the same data folder is refused, a dead one in the way is not', async (t) => {
    const lab = await Lab.open(t);
    const child = await lab.startNodeProcess();
    await assert.rejects(lab.startNode(), new RegExp(`in use by another node \\(pid ${child.pid}\\)`));
    await child.end('SIGKILL');
    await lab.startNode();
  });

  test('the same start twice is one job, another request under its id is refused', async (t) => {
    const lab = await Lab.open(t);
    const { request, running } = await midTransfer(lab);
    const again = await lab.call('POST', '/backup/start', { ...request, vcenter_password: 'rotated' });
    assert.equal(again.status, 200);
    const other = await lab.call('POST', '/backup/start', {
      ...request,
      backup_type: 'incremental',
      previous_change_id: 'x',
    });
    assert.equal(other.status, 409);
    const copies = async () => (await copying(lab)).filter((line) => line.startsWith('nbdcopy')).length;
    await until(async () => (await copies()) > 0);
    assert.ok((await copies()) <= 2, 'one copy a disk');
    assert.equal((await running).status, 'completed');
    assert.equal((await lab.call('POST', '/backup/start', request)).status, 200);
    assert.equal(lab.hub.completions.length, 2);
  });

  test('a new backup of a VM ends the one that the hub has given up', async (t) => {
    const lab = await Lab.open(t);
    const { vm, request, running } = await midTransfer(lab);
    const exports = await lab.prepare(vm);
    const next = await lab.backUp(lab.request(vm, exports), exports);
    assert.equal(next.status, 'completed', next.last_error ?? '');
    await lab.assertIdentical(vm, exports);
    assert.equal((await running).status, 'failed');
    const failure = await lab.hub.failureOf(request.job_id);
    assert.equal(Object(failure.error).code, 'superseded');
  });

  test('telemetry tells phases that last and each disk, and never calls a job completed', async (t) => {
    const lab = await Lab.open(t);
    const { request, running } = await midTransfer(lab);
    await running;
    const posts = lab.hub.postsOf(request.job_id);
    const phases = [...new Set(posts.map(({ current_phase }) => current_phase))];
    assert.ok(phases.includes('transferring'), `${phases}`);
    assert.ok(posts.every(({ status }) => status === 'running'));
    const percents = posts.map(({ progress_percent = 0 }) => progress_percent);
    assert.deepEqual(
      percents,
      percents.toSorted((a, b) => a - b),
    );
    assert.ok(percents.filter((percent) => percent > 0 && percent < 100).length >= 3, `${percents}`);
    const halfway = posts.find(({ progress_percent = 0 }) => progress_percent > 30);
    assert.deepEqual(
      halfway?.disks?.map(({ disk_index }) => disk_index),
      [0, 1],
    );
    const sum = halfway?.disks?.reduce((bytes, { bytes_transferred }) => bytes + bytes_transferred, 0);
    assert.equal(halfway?.bytes_transferred, sum);
  });

  test('passwords are neither stored nor shown on a command line', async (t) => {
    const lab = await Lab.open(t);
    const { running } = await midTransfer(lab);
    const lines = await processesNaming('secret-word');
    assert.deepEqual(lines, []);
    const { exitCode } = await execa('grep', ['-r', '-q', 'secret-word', lab.dataDir], { reject: false });
    assert.equal(exitCode, 1);
    await running;
  });
});
