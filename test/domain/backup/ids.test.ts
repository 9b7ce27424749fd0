import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  backupContextIdFor,
  backupIdFor,
  diskBackupIdFor,
  diskBackupIdOf,
  diskKeyOf,
  exportNameFor,
  folderOf,
  imagePathFor,
} from '#domain/backup/ids.ts';

const when = '2026-11-22T02:16:05.120Z';

describe('names of backups', () => {
  test('are made of the VM’s name and the second', () => {
    assert.equal(backupIdFor('pgtest1', 1760099954), 'backup-pgtest1-1760099954');
    assert.equal(backupContextIdFor('pgtest1', 1760099954), 'ctx-backup-pgtest1-1760099954');
    assert.equal(diskBackupIdFor('pgtest1', 1, when), 'backup-pgtest1-disk1-20261122-021605');
    assert.equal(exportNameFor('pgtest1', 2000), 'pgtest1-disk-2000');
  });

  test('hold nothing but harmless characters', () => {
    assert.equal(backupIdFor('Büro / "Käse" 1', 5), 'backup-B-ro----K-se--1-5');
    assert.equal(exportNameFor('a b;c', 2001), 'a-b-c-disk-2001');
  });

  test('never look like a disk’s to the client, whatever the VM is called', () => {
    assert.equal(backupIdFor('db-disk1', 5), 'backup-db-disk_1-5');
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('-', 'd', 'i', 's', 'k', '1', '_', ' ') }), (name) => {
        assert.doesNotMatch(backupIdFor(`x-disk1-${name}`, 1760099954), /-disk\d+-/);
        const own = diskBackupIdFor(`x-disk7-${name}`, 3, when).match(/-disk(\d+)-/);
        assert.equal(own?.[1], '3');
      }),
    );
  });

  test('fit into their limits, and keep what tells them apart', () => {
    const name = 'n'.repeat(300);
    assert.equal(backupIdFor(name, 1760099954).length, 64);
    assert.match(backupIdFor(name, 1760099954), /-1760099954$/);
    assert.equal(diskBackupIdFor(name, 12, when).length, 64);
    assert.match(diskBackupIdFor(name, 12, when), /-disk12-20261122-021605$/);
    assert.equal(exportNameFor(name, 2016).length, 63);
    assert.match(exportNameFor(name, 2016), /-disk-2016$/);
    assert.ok(backupContextIdFor(name, 1760099954).length <= 64);
  });

  test('an image lies in its VM’s and disk’s folder and is named for its own id', () => {
    const path = imagePathFor({
      rootPath: '/backup/repo//',
      vmContextId: 'ctx-1',
      vmName: 'vm',
      diskIndex: 1,
      at: when,
    });
    assert.equal(path, '/backup/repo/ctx-1/disk-1/backup-vm-disk1-20261122-021605.qcow2');
    assert.equal(diskBackupIdOf(path), 'backup-vm-disk1-20261122-021605');
    assert.equal(folderOf(path), '/backup/repo/ctx-1/disk-1');
    assert.equal(folderOf('/x'), '/');
  });

  test('a disk’s key is the number in its discovered id', () => {
    assert.equal(diskKeyOf('disk-2016'), 2016);
    for (const id of ['disk-', 'disk-x', 'sda', 'xdisk-2000', 'disk-2000b']) assert.equal(diskKeyOf(id), undefined);
  });
});
