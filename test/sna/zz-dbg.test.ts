import { test } from 'node:test';
import { changeExtents } from '../support/lab-vm.ts';
import { Lab, mib } from './lab.ts';
test('dbg', async (t) => {
  const lab = await Lab.open(t);
  const vm = await lab.makeVm({ name: 'big', disks: [{ sizeBytes: 2048 * mib, dataBytes: 300 * mib }, { sizeBytes: 2048 * mib, dataBytes: 300 * mib }] });
  await lab.startNode();
  await lab.tracked(2);
  for (const _ of [1,2,3]) {
  for (const d of vm.disks) await changeExtents(d, { count: 10, sizeBytes: mib, zeroHalf: true });
  const s = performance.now(); await lab.tracked(2, 60_000); console.log('settled', performance.now() - s);
  }
});
