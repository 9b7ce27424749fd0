import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chooseDriver, createMountHost, type HostFacts } from '#infra/mounts/mount-host.ts';

const good: HostFacts = { privileged: true, missing: new Set(), nbdDevices: true, loopDevices: true, fuse: true };

describe('the choice of a mount driver', () => {
  test("takes the kernel's NBD where it is there", () => assert.equal(chooseDriver(good, 'auto').driver, 'nbd'));
  test('takes FUSE where the kernel has no NBD, and says so', () => {
    const { driver, reason } = chooseDriver({ ...good, nbdDevices: false }, 'auto');
    assert.equal(driver, 'fuse');
    assert.match(reason, /nbd0/);
  });
  test('follows the setting, and fails rather than take the other', () => {
    assert.equal(chooseDriver(good, 'fuse').driver, 'fuse');
    assert.equal(chooseDriver({ ...good, nbdDevices: false }, 'nbd').driver, null);
    assert.equal(chooseDriver({ ...good, fuse: false }, 'fuse').driver, null);
  });
  for (const [what, facts, words] of [
    ['an ordinary user', { privileged: false }, /root/],
    ['no loop devices and no NBD', { loopDevices: false, nbdDevices: false }, /loop-control.*nbd0/],
    ['a missing program', { missing: new Set(['sfdisk']) }, /sfdisk.*package fdisk/],
  ] as const) {
    test(`cannot mount with ${what}, and says what is missing`, () => {
      const { driver, reason } = chooseDriver({ ...good, ...facts }, 'auto');
      assert.equal(driver, null);
      assert.match(reason, words);
    });
  }
  test('shows an operator where the disk is', () => {
    const places = { runtimeDir: '/var/lib/hub/mounts', restoreDir: '/mnt/sendense/restore' };
    const host = createMountHost({ ...places, driver: 'auto', facts: async () => good });
    assert.deepEqual(host.placeOf('id', 3, 'nbd'), {
      ...{ mountPath: '/mnt/sendense/restore/id', devicePath: '/dev/nbd3', runtimeFolder: '/var/lib/hub/mounts/id' },
    });
    assert.equal(host.placeOf('id', 3, 'fuse').devicePath, '/var/lib/hub/mounts/id/disk');
  });
});
