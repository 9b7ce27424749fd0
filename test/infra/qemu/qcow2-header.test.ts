import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execa } from 'execa';
import { readQcow2Header } from '#infra/qemu/qcow2-header.ts';

const folder = async (t: TestContext): Promise<string> => {
  const root = await mkdtemp(join(tmpdir(), 'sendense-header-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  return root;
};

const create = async (path: string, ...options: readonly string[]): Promise<string> => {
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, path, '3T']);
  return path;
};

test('both versions of the format and all sizes of clusters are understood', async (t) => {
  const root = await folder(t);
  for (const options of ['compat=0.10', 'compat=1.1', 'cluster_size=4k', 'cluster_size=2M', 'extended_l2=on']) {
    const path = await create(join(root, 'image.qcow2'), '-o', options);
    const told = JSON.parse((await execa('qemu-img', ['info', '--output=json', path])).stdout);
    const { actualSizeBytes, ...header } = (await readQcow2Header(path)) ?? assert.fail('no header');
    assert.equal(actualSizeBytes, told['actual-size']);
    assert.deepEqual(header, {
      virtualSizeBytes: 3 * 2 ** 40,
      clusterSizeBytes: told['cluster-size'],
      backingFile: null,
      dirty: false,
    });
  }
});

test('an image whose writer died is dirty', async (t) => {
  const path = await create(join(await folder(t), 'lazy.qcow2'), '-o', 'lazy_refcounts=on');
  assert.equal((await readQcow2Header(path))?.dirty, false);
  await execa('qemu-io', ['-f', 'qcow2', '-c', 'write 0 1M', '-c', 'flush', '-c', 'sigraise 9', path], {
    reject: false,
  });
  assert.equal((await readQcow2Header(path))?.dirty, true);
});

test('a file that is cut off, empty or of another format is no qcow2', async (t) => {
  const path = join(await folder(t), 'x');
  const futureVersion = Buffer.alloc(104);
  futureVersion.write('QFI\xfb', 'latin1');
  futureVersion.writeUInt32BE(4, 4);
  for (const content of ['', 'QFI', 'KDMV'.padEnd(4096), futureVersion]) {
    await writeFile(path, content);
    assert.equal(await readQcow2Header(path), undefined);
  }
});
