import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { changeExtents } from '../support/lab-vm.ts';
import { Lab, mib } from './lab.ts';

const disks = [
  { sizeBytes: 96 * mib, dataBytes: 32 * mib },
  { sizeBytes: 64 * mib, dataBytes: 24 * mib, format: 'qcow2' },
] as const;

describe('a backup of a VM with a raw and a qcow2 disk', { concurrency: 2 }, () => {
  test('full, then incremental: each is identical to the source and the second moves what changed', async (t) => {
    const lab = await Lab.open(t);
    const vm = await lab.makeVm({ name: 'pgtest1', disks });
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
      assert.ok(bytes >= 2.4 * mib && bytes <= 2.6 * mib, `${bytes} bytes moved for 2.5 MiB of changes`);
    }
  });
});
