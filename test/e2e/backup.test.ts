import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { changeExtents } from '../support/lab-vm.ts';
import type { WireBackup } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

describe('backups of a VM with two disks', () => {
  let world: World;
  before(async () => {
    world = await World.open();
  });
  after(() => world.close());

  test('a full backup holds both disks bit for bit', async () => {
    const kept = await world.keep();
    const full = await world.backUp('full');
    await world.assertIdentical(full, kept);
    await world.assertTidy();
  });
});
