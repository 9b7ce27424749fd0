import assert from 'node:assert/strict';
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { eventually } from '../support/eventually.ts';
import { readHealth } from '../support/hub-process.ts';
import { mountsOf } from '../support/mounts.ts';
import { processesOf } from '../support/processes.ts';
import { assertSameDisk, type WireRestore } from '../support/restore-world.ts';
import type { WireBackup } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

// Tests that an ordinary user runs are the case themselves.
const nobody = { uid: 65_534, gid: 65_534 };
const hubUser = process.getuid?.() === 0 ? nobody : undefined;

/** What only root may read cannot be run by anybody else. */
const unreadable = async (): Promise<string | false> => {
  const main = resolve(import.meta.dirname, '../../src/main.ts');
  const { failed } = await execa(process.execPath, ['--check', main], { ...hubUser, cwd: '/', reject: false });
  return failed && `user ${nobody.uid} may not read ${main} or run ${process.execPath}`;
};

describe('a hub that an ordinary user runs', { skip: await unreadable() }, () => {
  let world: World;
  let restored: string;
  let backup: WireBackup;
  let kept: Kept;
  before(async () => {
    restored = await mkdtemp(join(tmpdir(), 'restored-'));
    if (hubUser) await chown(restored, hubUser.uid, hubUser.gid);
    const settings = { SENDENSE_RESTORE_ROOTS: restored };
    world = await World.open({ disks: [{ sizeBytes: 16 * mib, dataBytes: mib }], settings, hubUser });
    backup = await world.backUp('full');
    kept = await world.keep();
  });
  after(async () => {
    await world?.close();
    await rm(restored, { recursive: true, force: true });
  });

  test('is ready, with all that it started, and backs up', async () => {
    const { projections } = await readHealth(world.hub.url);
    assert.ok(projections.length > 0);
    const expected = hubUser?.uid ?? process.getuid?.();
    assert.equal((await stat(`/proc/${world.hub.pid}`)).uid, expected);
    for (const { pid, commandLine } of await processesOf(world.hubData)) {
      const found = await stat(`/proc/${pid}`).catch(() => undefined); // PostgreSQL's workers come and go
      assert.equal(found?.uid ?? expected, expected, commandLine);
    }
    await world.assertIdentical(backup, kept);
  });

  test('says that it cannot mount, and why, and refuses to', async () => {
    const mounts = mountsOf(world);
    const { driver, driver_reason: reason, available_slots: slots } = await mounts.resources();
    assert.deepEqual([driver, slots], [null, 8]);
    assert.match(String(reason), /^mounting needs root or CAP_SYS_ADMIN: run the hub as root/);
    const { status, headers, body } = await mounts.attempt(backup.backup_id);
    assert.deepEqual([status, headers.get('x-error-code')], [503, 'mounts-unavailable']);
    assert.equal(body.error, `this host cannot mount: ${reason}`);
    const query = new URLSearchParams({ vm_name: world.vm.name, disk_index: '0', path: '/etc/hostname' });
    const found = await world.call<{ versions: readonly { error: string | null }[] }>(
      'GET',
      `/backups/files/versions?${query}`,
    );
    assert.deepEqual(
      found.body.versions.map(({ error }) => error),
      [body.error],
      'a file that could not be looked for is not said to be missing',
    );
    assert.deepEqual(await mounts.list(), []);
  });

  for (const format of ['raw', 'qcow2']) {
    test(`downloads whole disks as ${format}, which needs no rights`, async () => {
      const response = await fetch(
        `${world.hub.url}/api/v1/backups/${backup.backup_id}/disks/0/export?format=${format}`,
      );
      assert.equal(response.status, 200);
      const path = join(world.folder, 'kept', `export.${format}`);
      await writeFile(path, Buffer.from(await response.arrayBuffer()));
      await assertSameDisk(path, format, kept[0]);
      assert.deepEqual(await world.programs(), []);
    });
  }

  const restore = (path: string) =>
    world.call<WireRestore & { error: string }>('POST', '/restore/disk', {
      body: { backup_id: backup.backup_id, disk_index: 0, target: { type: 'image', path, format: 'raw' } },
    });
  const ended = (id: string) =>
    eventually(`the restore ${id} ends`, async () => {
      const { body } = await world.call<WireRestore>('GET', `/restore/disk/${id}`);
      return ['pending', 'running'].includes(body.status) ? undefined : body;
    });

  test('writes disks back where its user may write', async () => {
    const path = join(restored, 'disk.raw');
    const { status, body } = await restore(path);
    assert.equal(status, 202, body.error);
    const { status: outcome, error_message: reason } = await ended(body.restore_id);
    assert.equal(outcome, 'completed', reason ?? '');
    await assertSameDisk(path, 'raw', kept[0]);
  });

  test('refuses to write one where its user may not', async () => {
    const closed = join(restored, 'closed');
    await mkdir(closed);
    await chmod(closed, 0o555);
    const { status, body, headers } = await restore(join(closed, 'disk.raw'));
    assert.deepEqual([status, headers.get('x-error-code')], [422, 'restore-target-refused']);
    assert.equal(body.error, `the hub's user may not write to ${closed}; give it the right, or choose another folder`);
    assert.deepEqual(await readdir(closed), []);
  });
});
