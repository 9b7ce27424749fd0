import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { createNbdExposure, isConnected, type NbdHost } from '#infra/mounts/nbd-disk.ts';

const mib = 1024 ** 2;

/** A kernel with NBD in the eyes of the driver: what it was told to run, and what `/sys/block` says then. */
const pretend = (over: Partial<NbdHost> = {}) => {
  const ran: (readonly string[])[] = [];
  const host: NbdHost = {
    run: async (program, args) => {
      ran.push([program, ...args]);
      return '';
    },
    attribute: async (name, attribute) => (name === 'nbd3' && attribute === 'size' ? `${(8 * mib) / 512}` : ''),
    exists: async (path) => path === '/dev/nbd3p2',
    ...over,
  };
  return { ran, exposure: createNbdExposure(host), host };
};

describe("the driver for the kernel's NBD", () => {
  let folder = '';
  let imagePath = '';
  const signal = new AbortController().signal;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nbd-'));
    imagePath = join(folder, 'a,b.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', imagePath, '8M']);
  });
  after(() => rm(folder, { recursive: true, force: true }));
  const where = (): Readonly<{ folder: string; slot: number; imagePath: string }> => ({ folder, slot: 3, imagePath });

  test('connects a throw-away overlay to the device of the slot, the image for reading alone', async () => {
    const { ran, exposure } = pretend();
    const disk = await exposure.expose(where(), 0, signal);
    assert.deepEqual([disk.path, disk.sizeBytes], ['/dev/nbd3', 8 * mib]);
    const [[program, connect, pidFile, source = ''] = []] = ran;
    assert.equal(ran.length, 1);
    assert.deepEqual([program, connect], ['qemu-nbd', '--connect=/dev/nbd3']);
    assert.equal(pidFile, `--pid-file=${join(folder, 'server.pid')}`);
    assert.match(source, /^json:/);
    const { file, backing } = JSON.parse(source.slice('json:'.length));
    assert.equal(file.filename, join(folder, 'overlay.qcow2'));
    assert.deepEqual([backing['read-only'], backing.file['read-only']], [true, true]);
    assert.equal(backing.file.filename, imagePath);
    // QEMU itself takes what it would be given with the kernel's device, but for the device.
    const socket = join(folder, 'socket');
    await execa('qemu-nbd', ['--fork', '--persistent', `--socket=${socket}`, pidFile ?? '', source]);
    const pid = Number(await readFile(join(folder, 'server.pid'), 'utf8'));
    try {
      const { stdout } = await execa('nbdinfo', ['--size', `nbd+unix:///?socket=${socket}`]);
      assert.equal(stdout, `${8 * mib}`);
      assert.equal((await exposure.serving(where()))?.pid, pid);
    } finally {
      await exposure.withdraw(where(), signal);
    }
    assert.deepEqual(ran.slice(1), [['qemu-nbd', '--disconnect', '/dev/nbd3']]);
    assert.equal(await exposure.serving(where()), undefined);
  });

  test('takes the node of a partition where the kernel has made one', async () => {
    const { exposure } = pretend();
    const disk = await exposure.expose(where(), 0, signal);
    const second = { number: 2, offsetBytes: mib, sizeBytes: mib };
    assert.equal(disk.nameOf(second), 'nbd3p2');
    assert.equal(await disk.deviceOf(second, second, signal), '/dev/nbd3p2');
    assert.equal(await disk.deviceOf({ offsetBytes: 0, sizeBytes: 8 * mib }, undefined, signal), '/dev/nbd3');
  });

  test('leaves a device alone whose program is not its own', async () => {
    const { ran, exposure } = pretend();
    await exposure.withdraw({ folder, slot: 3 }, signal);
    assert.deepEqual(ran, []);
  });

  test('sees which devices are in use by the process that the kernel names', async () => {
    const { host } = pretend({ attribute: async (name) => (name === 'nbd5' ? '4242' : '') });
    assert.deepEqual([await isConnected(5, host), await isConnected(4, host)], [true, false]);
  });
});
