import assert from 'node:assert/strict';
import { open, rename, rm } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { changeExtents } from '../support/lab-vm.ts';
import { Lab, mib } from './lab.ts';

const rawAndQcow2 = [
  { sizeBytes: 96 * mib, dataBytes: 32 * mib },
  { sizeBytes: 64 * mib, dataBytes: 24 * mib, format: 'qcow2' },
] as const;
const oneRaw = [{ sizeBytes: 64 * mib, dataBytes: 24 * mib }] as const;

describe('a backup', { concurrency: 2 }, () => {
  test('full, then incremental, of a raw and a qcow2 disk: identical, and only what changed is moved', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'pgtest1', disks: rawAndQcow2 });
    await lab.startNode();
    const full = await lab.prepare(vm);
    const first = await lab.backUp(lab.request(vm, full), full);
    assert.equal(first.status, 'completed', first.last_error ?? '');
    await lab.assertIdentical(vm, full);

    // Zeroes over data: a copy that leaves out zero blocks shows the parent's data there.
    for (const disk of vm.disks) await changeExtents(disk, { count: 10, sizeBytes: mib / 4, zeroHalf: true });
    const incremental = await lab.prepare(vm, full);
    const request = lab.incremental(vm, incremental);
    const second = await lab.backUp(request, incremental);
    assert.equal(second.status, 'completed', second.last_error ?? '');
    await lab.assertIdentical(vm, incremental);
    for (const bytes of lab.bytesOf(request.job_id)) {
      assert.ok(bytes >= 2.5 * mib && bytes <= 2.6 * mib, `${bytes} bytes moved for 2.5 MiB of changes`);
    }
  });

  test('changes of all snapshots since the base are moved, also after a restart of the node', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'steady', disks: oneRaw });
    await lab.startNode();
    const full = await lab.prepare(vm);
    await lab.backUp(lab.request(vm, full), full);
    const base = lab.hub.changeIds.get(0) ?? '';

    await changeExtents(vm.disks[0] ?? '', { count: 3, sizeBytes: mib / 4, seed: 'first' });
    const lost = await lab.prepare(vm, full);
    await lab.backUp(lab.incremental(vm, lost), lost);
    lab.hub.changeIds.set(0, base); // the hub has deleted that backup again
    await lab.node?.close();
    await changeExtents(vm.disks[0] ?? '', { count: 2, sizeBytes: mib / 2, seed: 'second' });
    await lab.startNode();
    const next = await lab.prepare(vm, full);
    const request = lab.incremental(vm, next);
    await lab.backUp(request, next);
    await lab.assertIdentical(vm, next);
    const [bytes = 0] = lab.bytesOf(request.job_id);
    assert.ok(bytes > mib && bytes < 3 * mib, `${bytes} bytes moved`);
  });

  test('that finds nothing changed moves nothing and completes every disk', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'idle', disks: rawAndQcow2 });
    await lab.startNode();
    const full = await lab.prepare(vm);
    await lab.backUp(lab.request(vm, full), full);
    const before = lab.hub.changeIds.get(0);
    const next = await lab.prepare(vm, full);
    const request = lab.incremental(vm, next);
    const ended = await lab.backUp(request, next);
    assert.equal(ended.status, 'completed');
    assert.equal(ended.percentage, 100);
    assert.deepEqual(lab.bytesOf(request.job_id), [0, 0]);
    assert.notEqual(lab.hub.changeIds.get(0), before, 'every snapshot has a change id of its own');
    await lab.assertIdentical(vm, next);
  });

  for (const [what, spoil] of [
    ['whose change id is of an unknown epoch', async (lab: Lab) => void lab.hub.changeIds.set(0, foreignId)],
    ['whose change id the hub does not have', async (lab: Lab) => void lab.hub.changeIds.clear()],
    ['whose disk was replaced', replaceDisk],
  ] as const) {
    test(`${what} is copied in full over its parent, zeroes included`, async (t) => {
      const lab = await Lab.open(t);
      const vm = await lab.makeVm({ name: 'doubtful', disks: oneRaw });
      const [disk = ''] = vm.disks;
      await lab.startNode();
      const full = await lab.prepare(vm);
      await lab.backUp(lab.request(vm, full), full);
      await changeExtents(disk, { count: 4, sizeBytes: mib, zeroHalf: true });
      // A hole where the parent has data.
      await execa('fallocate', ['--punch-hole', '--offset', String(8 * mib), '--length', String(6 * mib), disk]);
      await spoil(lab, disk);
      const next = await lab.prepare(vm, full);
      const request = lab.incremental(vm, next);
      const ended = await lab.backUp(request, next);
      assert.equal(ended.status, 'completed', ended.last_error ?? '');
      await lab.assertIdentical(vm, next);
      assert.ok((lab.bytesOf(request.job_id)[0] ?? 0) > 8 * mib);
    });
  }

  test('holds the state of its snapshot; what a writer adds while it runs belongs to the next', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'busy', disks: rawAndQcow2 });
    await lab.startNode();
    await lab.tracked(2);
    const kept = await lab.keep(vm, 'kept');
    const full = await lab.prepare(vm, undefined, 6 * mib);
    const request = lab.request(vm, full);
    const running = lab.backUp(request, full);
    await lab.phase(request.job_id, 'transferring');
    for (const disk of vm.disks) await changeExtents(disk, { count: 8, sizeBytes: mib / 2, zeroHalf: true });
    assert.equal((await lab.progress(request.job_id)).status, 'in_progress', 'the writes came too late to matter');
    assert.equal((await running).status, 'completed');
    await lab.assertIdentical(kept, full);

    const next = await lab.prepare(vm, full);
    const second = lab.incremental(vm, next);
    await lab.backUp(second, next);
    await lab.assertIdentical(vm, next);
    for (const bytes of lab.bytesOf(second.job_id)) assert.ok(bytes >= 3.9 * mib && bytes < 5 * mib, `${bytes}`);
  });

  test('is one moment of all disks even while a writer pauses only now and then', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'pulse', disks: [...oneRaw, ...oneRaw] });
    await lab.startNode();
    const stop = new AbortController();
    const writer = writeCounters(vm.disks, stop.signal);
    const full = await lab.prepare(vm);
    const ended = await lab.backUp(lab.request(vm, full), full).finally(() => stop.abort());
    await writer;
    assert.equal(ended.status, 'completed', ended.last_error ?? '');
    // The writer writes n to disk 0, then to disk 1, then pauses: any one moment in a pause shows equal numbers.
    const [first, second] = await Promise.all(full.map(({ image }) => readCounter(image)));
    assert.ok((first ?? 0) > 0);
    assert.equal(first, second);
  });

  test('of disks that are written to without a pause fails and says what to do', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'restless', disks: oneRaw });
    await lab.startNode({ snapshotTimeoutMs: 300 });
    const file = await open(vm.disks[0] ?? '', 'r+');
    let counter = 0;
    const timer = setInterval(() => void file.write(Buffer.alloc(512, ++counter), 0, 512, 2 * mib), 5);
    try {
      const full = await lab.prepare(vm);
      const ended = await lab.backUp(lab.request(vm, full), full);
      assert.equal(ended.status, 'failed');
      assert.match(ended.last_error ?? '', /disk-0\.raw kept being written to/);
    } finally {
      clearInterval(timer);
      await file.close();
    }
    assert.deepEqual(lab.hub.completions, []);
  });
});

const foreignId = '52 66 8c 2d a7 c5 c5 68-c5 d2 8d 04 79 f5 fd 7d/1';

async function replaceDisk(_lab: Lab, disk: string): Promise<void> {
  await execa('cp', ['--sparse=always', disk, `${disk}.new`]);
  await rename(`${disk}.new`, disk);
}

const counterOffset = 3 * mib;

const writeCounters = async (disks: readonly string[], signal: AbortSignal): Promise<void> => {
  for (let counter = 1; !signal.aborted; counter += 1) {
    for (const disk of disks) {
      const value = Buffer.alloc(8);
      value.writeBigUInt64LE(BigInt(counter));
      const file = await open(disk, 'r+');
      await file.write(value, 0, 8, counterOffset);
      await file.close();
    }
    // The load of the test: a writer with a rhythm, not a wait for something to happen.
    await delay(400, undefined, { signal }).catch(() => undefined);
  }
};

const readCounter = async (image: string): Promise<number> => {
  const raw = `${image}.sector`;
  const skip = String(counterOffset / 512);
  await execa('qemu-img', [
    'dd',
    '-f',
    'qcow2',
    '-O',
    'raw',
    'bs=512',
    `skip=${skip}`,
    `count=${Number(skip) + 1}`,
    `if=${image}`,
    `of=${raw}`,
  ]);
  const file = await open(raw, 'r');
  const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 0);
  await file.close();
  await rm(raw);
  return Number(buffer.readBigUInt64LE());
};
