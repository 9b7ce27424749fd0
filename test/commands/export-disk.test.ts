import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createExportDisk, type DiskReader, ImageUnreadable } from '#commands/export-disk.ts';
import { createOpenExports } from '#commands/open-exports.ts';

const never = new AbortController().signal;
const [first, second] = [0, 1].map((diskIndex) => ({ backupId: 'backup-a-1', diskIndex, format: 'raw' as const }));

describe('exporting disks', () => {
  const open = (reader: DiskReader['open'] = async () => readable) => {
    const exports = createOpenExports(2);
    const findDisk = async (backupId: string, diskIndex: number) => ({
      ...{ backupId, diskIndex, vmName: 'a', imagePath: '/r/a.qcow2', repositoryPath: '/r' },
    });
    return { exports, exportDisk: createExportDisk({ findDisk, reader: { open: reader }, exports }) };
  };
  const readable = { sizeBytes: 5, version: 'raw', read: async function* () {}, close: () => undefined };

  test('tells which are open, until they are closed', async () => {
    const { exports, exportDisk } = open();
    assert.ok(first && second);
    const [one, two] = [await exportDisk(first, never), await exportDisk(second, never)];
    assert.deepEqual(exports.list(), [
      { backupId: 'backup-a-1', diskIndex: 0 },
      { backupId: 'backup-a-1', diskIndex: 1 },
    ]);
    await assert.rejects(exportDisk(first, never), { code: 'exports-exhausted', details: { running: 2 } });
    one.close();
    one.close();
    assert.deepEqual(exports.list(), [{ backupId: 'backup-a-1', diskIndex: 1 }]);
    two.close();
    assert.deepEqual(exports.list(), []);
  });

  test('counts one that is still being opened, and forgets one that could not be', async () => {
    const { promise, reject } = Promise.withResolvers<typeof readable>();
    const { exports, exportDisk } = open(() => promise);
    assert.ok(first);
    const opening = exportDisk(first, never);
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(exports.list().length, 1, 'its image is being looked at already');
    reject(new ImageUnreadable('no such file'));
    await assert.rejects(opening, { code: 'image-unreadable' });
    assert.deepEqual(exports.list(), []);
  });
});
