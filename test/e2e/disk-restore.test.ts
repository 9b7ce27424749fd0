import assert from 'node:assert/strict';
import { mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { eventually } from '../support/eventually.ts';
import { assertSameDisk, openRestoreWorld, type RestoreWorld, type WireRestore } from '../support/restore-world.ts';
import { notRoot } from '../support/root.ts';
import { mib } from '../support/world.ts';

describe('disks that are written back', () => {
  let lab: RestoreWorld;
  before(async () => {
    lab = await openRestoreWorld();
  });
  after(() => lab?.close());

  test('become images of either format that hold what the backup holds', async () => {
    const { full, increment, atFull, atIncrement, image, restore, assertNothingLeft } = lab;
    const wanted = [
      [full, 0, image('full-0.raw'), atFull],
      [increment, 0, image('inc-0, a name.qcow2', 'qcow2'), atIncrement],
      [increment, 1, image('inc-1.raw'), atIncrement],
    ] as const;
    for (const [backup, disk, target, kept] of wanted) {
      const { status, verified, error_message: reason } = await restore(backup, disk, target, { verify: true });
      assert.equal(status, 'completed', reason ?? '');
      assert.equal(verified, true);
      await assertSameDisk(target.path, target.format, kept[disk]);
      const { blocks, size, mode } = await stat(target.path);
      assert.equal(mode & 0o777, 0o640);
      if (target.format === 'raw') assert.ok(blocks * 512 < size, 'holes stay holes');
    }
    await assertNothingLeft();
  });

  test('are written to NBD exports, on a socket and over TCP', async () => {
    const { root, nbdPort, increment, restore, assertNothingLeft, atIncrement } = lab;
    const socket = join(root, 'target.sock');
    const targets = [
      [`--unix=${socket}`, `nbd+unix:///?socket=${socket}`],
      [`--port=${nbdPort}`, `nbd://127.0.0.1:${nbdPort}`],
    ] as const;
    for (const [where, uri] of targets) {
      const disk = join(root, 'target.raw');
      // Longer than the disk, and full of what must not shine through.
      await execa('qemu-img', ['create', '-f', 'raw', disk, String(100 * mib)]);
      await execa('qemu-io', ['-f', 'raw', '-c', 'write -P 9 0 96M', disk]);
      const server = execa('nbdkit', ['--foreground', '--ipaddr=127.0.0.1', where, 'file', disk], { reject: false });
      try {
        await eventually('the target listens', async () => {
          const { exitCode } = await execa('nbdinfo', ['--size', uri], { reject: false });
          return exitCode === 0;
        });
        const {
          status,
          verified,
          error_message: reason,
        } = await restore(increment, 0, { type: 'nbd', uri }, { verify: true });
        assert.deepEqual([status, verified], ['completed', true], reason ?? '');
      } finally {
        server.kill('SIGTERM');
        await server;
      }
      await assertSameDisk(disk, 'raw', atIncrement[0]);
    }
    await assertNothingLeft();
  });

  test('fail with a reason when the target is too small or away', async () => {
    const { root, nbdPort, full, restore, assertNothingLeft } = lab;
    const socket = join(root, 'small.sock');
    const away = await restore(full, 0, { type: 'nbd', uri: `nbd://127.0.0.1:${nbdPort}/x` });
    assert.deepEqual([away.status, away.failure_kind], ['failed', 'target']);
    assert.match(away.error_message ?? '', /refused/i);
    const server = execa('nbdkit', ['--foreground', `--unix=${socket}`, 'memory', 'size=1M'], { reject: false });
    try {
      await eventually('the target listens', () =>
        stat(socket).then(
          () => true,
          () => false,
        ),
      );
      const small = await restore(full, 0, { type: 'nbd', uri: `nbd+unix:///?socket=${socket}` });
      assert.deepEqual([small.status, small.failure_kind], ['failed', 'target']);
    } finally {
      server.kill('SIGTERM');
      await server;
    }
    await assertNothingLeft();
  });

  test('never go where they may not, and never over a file unasked', async () => {
    const { world, root, full, increment, ask, image, restore, assertNothingLeft, atFull } = lab;
    await mkdir(join(root, 'inside'));
    await symlink(world.repositoryPath, join(root, 'leads-out'));
    await writeFile(join(root, 'taken.raw'), 'precious');
    await symlink('/etc/hostname', join(root, 'link.raw'));
    const chain = increment.disk_results[0]?.qcow2_path ?? '';
    const refused = [
      [image('taken.raw'), 409, 'restore-target-exists'],
      [image('inside', 'raw', { overwrite: true }), 422, 'restore-target-refused'],
      [image('link.raw', 'raw', { overwrite: true }), 422, 'restore-target-refused'],
      [image('leads-out/new.raw'), 422, 'restore-target-refused'],
      [image('no-folder/new.raw'), 422, 'restore-target-refused'],
      [{ ...image('x'), path: `${root}/inside/../../new.raw` }, 422, 'restore-target-refused'],
      [{ ...image('x'), path: '/etc/new.raw' }, 422, 'restore-target-refused'],
      [{ ...image('x'), path: chain, overwrite: true }, 422, 'restore-target-refused'],
      [{ ...image('x'), path: 'relative.raw' }, 400, 'invalid-request'],
      [{ type: 'nbd', uri: 'nbd://10.1.2.3/disk' }, 422, 'restore-target-refused'],
      [{ type: 'nbd', uri: `nbd://127.0.0.1:${world.firstPort}/x` }, 422, 'restore-target-refused'],
      [{ type: 'nbd', uri: 'nbd+unix:///?socket=/run/other.sock' }, 422, 'restore-target-refused'],
      [{ type: 'nbd', uri: 'https://127.0.0.1/' }, 400, 'invalid-request'],
      [{ type: 'tape' }, 400, 'invalid-request'],
    ] as const;
    for (const [target, status, code] of refused) {
      const reply = await ask(full, 0, target);
      assert.deepEqual([reply.status, reply.headers.get('x-error-code')], [status, code], JSON.stringify(target));
    }
    assert.equal((await restore(full, 1, image('taken.raw', 'raw', { overwrite: true }))).status, 'completed');
    await assertSameDisk(join(root, 'taken.raw'), 'raw', atFull[1]);
    const nobody = await ask({ ...full, backup_id: 'backup-nobody-1' }, 0, image('new.raw'));
    assert.deepEqual([nobody.status, nobody.headers.get('x-error-code')], [404, 'backup-not-found']);
    assert.equal((await ask(full, 9, image('new.raw'))).headers.get('x-error-code'), 'backup-disk-not-found');
    await assertNothingLeft();
  });

  test('are only foretold in a dry run', async () => {
    const { world, root, full, image } = lab;
    const body = { backup_id: full.backup_id, target: image('dry.raw') };
    const { status, body: told } = await world.call<{ would_append: { type: string }[]; would_follow: string[] }>(
      'POST',
      '/restore/disk?dry_run=true',
      { body },
    );
    assert.equal(status, 200, JSON.stringify(told));
    assert.deepEqual(
      told.would_append.map(({ type }) => type),
      ['DiskRestoreRequested'],
    );
    assert.match(told.would_follow.join(' '), /dry\.raw/);
    assert.ok(!(await readdir(root)).includes('dry.raw'));
  });

  test('are asked for once with the same key', async () => {
    const { world, full, ended, image } = lab;
    const headers = { 'idempotency-key': 'restore-me' };
    const body = { backup_id: full.backup_id, disk_index: 1, target: image('once.raw') };
    const first = await world.call<WireRestore>('POST', '/restore/disk', { body, headers });
    assert.equal((await ended(first.body.restore_id)).status, 'completed');
    const second = await world.call<WireRestore>('POST', '/restore/disk', { body, headers });
    assert.deepEqual([second.status, second.body.restore_id], [202, first.body.restore_id]);
  });

  test('stop when they are cancelled, and leave nothing', async () => {
    const { world, root, full, letGo, ask, ended, image, inTheMiddle, assertNothingLeft } = lab;
    const target = image('cancelled.raw');
    const { restore_id: id } = await inTheMiddle(target);
    const twice = await ask(full, 1, target);
    assert.equal(twice.headers.get('x-error-code'), 'restore-target-busy');
    const askedAt = performance.now();
    assert.equal((await world.call('DELETE', `/restore/disk/${id}`)).status, 202);
    assert.equal((await ended(id)).status, 'cancelled');
    assert.ok(performance.now() - askedAt < 5_000);
    await letGo();
    assert.ok(!(await readdir(root)).includes('cancelled.raw'));
    await assertNothingLeft();
    assert.equal((await world.call('DELETE', `/restore/disk/${id}`)).status, 202, 'a repeat is harmless');
    const unknown = await world.call('DELETE', '/restore/disk/nothing');
    assert.equal(unknown.headers.get('x-error-code'), 'disk-restore-not-found');
  });

  test('keep their backup from being deleted until they have ended', async () => {
    const { world, increment, letGo, ended, image, inTheMiddle, assertNothingLeft } = lab;
    const { restore_id: id } = await inTheMiddle(image('kept.raw'));
    const path = `/backups/${increment.backup_id}`;
    const refused = await world.call<{ error: string }>('DELETE', path);
    assert.deepEqual([refused.status, refused.headers.get('x-error-code')], [409, 'backup-being-read']);
    assert.match(refused.body.error, new RegExp(`wait for the restore's end or cancel it: ${id}`));
    assert.equal((await world.call('DELETE', `/restore/disk/${id}`)).status, 202);
    assert.equal((await ended(id)).status, 'cancelled');
    await letGo();
    assert.equal((await world.call('DELETE', `${path}?dry_run=true`)).status, 200, 'it may be deleted now');
    await assertNothingLeft();
  });

  test('that the hub was killed in the middle of begin anew with the next hub', async () => {
    const { world, letGo, ended, image, inTheMiddle, assertNothingLeft, atIncrement } = lab;
    const target = image('killed.qcow2', 'qcow2');
    const { restore_id: id } = await inTheMiddle(target);
    await world.killHub();
    assert.deepEqual(await world.programs(), [], 'the copy ends with its hub');
    await letGo();
    await world.startHub();
    const { status, attempts, error_message: reason } = await ended(id);
    assert.deepEqual([status, attempts], ['completed', 2], reason ?? '');
    await assertSameDisk(target.path, 'qcow2', atIncrement[0]);
    await assertNothingLeft();
  });

  test('that the hub stopped in the middle of leave nothing until it is back', async () => {
    const { world, root, letGo, ended, image, inTheMiddle, atIncrement } = lab;
    const target = image('stopped.raw');
    const { restore_id: id } = await inTheMiddle(target);
    await world.stopHub();
    assert.deepEqual(
      (await readdir(root)).filter((name) => name.includes('partial')),
      [],
    );
    await letGo();
    await world.startHub();
    assert.equal((await ended(id)).status, 'completed');
    await assertSameDisk(target.path, 'raw', atIncrement[0]);
  });

  test('fail with a reason when the disk is full, before or in the middle', { skip: notRoot }, async () => {
    const { root, increment, letGo, ended, image, restore, inTheMiddle, assertNothingLeft } = lab;
    const folder = join(root, 'small');
    await mkdir(folder);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=80m', 'tmpfs', folder]);
    try {
      const { restore_id: id } = await inTheMiddle(image('small/middle.raw'));
      await execa('fallocate', ['-l', '70M', join(folder, 'filler')], { reject: false });
      await execa('dd', ['if=/dev/zero', `of=${join(folder, 'rest')}`, 'bs=1M'], { reject: false });
      await letGo();
      const middle = await ended(id);
      assert.deepEqual([middle.status, middle.failure_kind, middle.attempts], ['failed', 'target', 1]);
      assert.match(middle.error_message ?? '', /no space left/i);
      await assertNothingLeft(folder);
      const before = await restore(increment, 0, image('small/before.raw'));
      assert.deepEqual([before.status, before.failure_kind], ['failed', 'target']);
      assert.match(before.error_message ?? '', /holds \d+ bytes, and \d+ are free/);
      assert.deepEqual((await readdir(folder)).sort(), ['filler', 'rest']);
    } finally {
      await letGo();
      await execa('umount', [folder]);
    }
  });

  test('are listed, newest first', async () => {
    const { world } = lab;
    const { body } = await world.call<{ restores: readonly WireRestore[]; count: number }>(
      'GET',
      '/restore/disk?status=failed',
    );
    assert.ok(body.count >= 2);
    assert.ok(body.restores.every(({ status }) => status === 'failed'));
    assert.equal(await world.metric('sendense_restore_disks{state="failed"}'), body.count);
    assert.equal(await world.metric('sendense_restore_disks{state="running"}'), 0);
    const { body: one } = await world.call<{ count: number }>('GET', '/restore/disk?limit=1');
    assert.equal(one.count, 1);
  });
});
