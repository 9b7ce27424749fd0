import assert from 'node:assert/strict';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { type EmptyImage, writeEmptyImage } from '#infra/qemu/empty-image.ts';

const kib = 1024;
const mib = 1024 ** 2;
const gib = 1024 ** 3;
const tib = 1024 ** 4;

const qemuImg = async (...args: string[]) => JSON.parse((await execa('qemu-img', args)).stdout);

describe('an empty image', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sendense-empty-'));
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'base.qcow2'), '64M']);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 9 1M 1M', join(folder, 'base.qcow2')]);
  });
  after(() => rm(folder, { recursive: true }));

  const make = async (name: string, image: EmptyImage): Promise<string> => {
    const path = join(folder, name);
    await using file = await open(path, 'w');
    await writeEmptyImage(file, image);
    return path;
  };

  /** What `qemu-img create` would have made of the same wish. */
  const makeByQemu = async (name: string, image: EmptyImage): Promise<string> => {
    const path = join(folder, name);
    const options = `cluster_size=${image.clusterSizeBytes},extended_l2=${image.subclusters ? 'on' : 'off'}`;
    const backing = image.backingName === undefined ? [] : ['-b', image.backingName, '-F', 'qcow2'];
    await execa('qemu-img', [
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      options,
      ...backing,
      path,
      `${image.virtualSizeBytes}`,
    ]);
    return path;
  };

  const factsOf = async (path: string) => {
    const {
      filename: _,
      'actual-size': __,
      'full-backing-filename': ___,
      children: ____,
      ...facts
    } = await qemuImg(...['info', '--output=json', path]);
    return facts;
  };

  const wishes: readonly EmptyImage[] = [
    { clusterSizeBytes: mib, subclusters: false, virtualSizeBytes: 512 },
    { clusterSizeBytes: mib, subclusters: false, virtualSizeBytes: 2 * gib },
    { clusterSizeBytes: mib, subclusters: false, virtualSizeBytes: 128 * gib },
    { clusterSizeBytes: mib, subclusters: false, virtualSizeBytes: 128 * gib + 512 },
    { clusterSizeBytes: mib, subclusters: false, virtualSizeBytes: 62 * tib },
    { clusterSizeBytes: 512 * kib, subclusters: true, virtualSizeBytes: 62 * tib, backingName: 'base.qcow2' },
    { clusterSizeBytes: 512 * kib, subclusters: true, virtualSizeBytes: 16 * gib + 512, backingName: 'base.qcow2' },
    { clusterSizeBytes: 64 * kib, subclusters: false, virtualSizeBytes: 8 * tib, backingName: 'base.qcow2' },
  ];
  for (const [index, wish] of wishes.entries()) {
    const { clusterSizeBytes, subclusters, virtualSizeBytes, backingName = 'nothing' } = wish;
    const kind = `${clusterSizeBytes / kib} KiB clusters${subclusters ? ' with subclusters' : ''} over ${backingName}`;
    test(`of ${virtualSizeBytes} bytes, ${kind}, is to qemu what qemu makes itself`, async () => {
      const ours = await make(`ours-${index}.qcow2`, wish);
      const theirs = await makeByQemu(`theirs-${index}.qcow2`, wish);
      assert.deepEqual(await factsOf(ours), await factsOf(theirs));
      const checked = await qemuImg('check', '--output=json', ours);
      assert.equal(checked['check-errors'], 0);
      assert.equal(checked.leaks ?? 0, 0);
      assert.equal(checked.corruptions ?? 0, 0);
    });
  }

  test('takes data at its beginning and its end, shows its base between them, and stays sound', async () => {
    const layout = { clusterSizeBytes: 512 * kib, subclusters: true, virtualSizeBytes: 40 * gib };
    const path = await make('written.qcow2', { ...layout, backingName: 'base.qcow2' });
    const last = layout.virtualSizeBytes - 64 * kib;
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 64k', '-c', `write -P 2 ${last} 64k`, path]);
    const reads = ['read -P 1 0 64k', 'read -P 9 1M 1M', 'read -P 0 3M 1M', `read -P 2 ${last} 64k`];
    const { stdout } = await execa('qemu-io', ['-r', '-f', 'qcow2', ...reads.flatMap((read) => ['-c', read]), path]);
    assert.doesNotMatch(stdout, /failed/i);
    const checked = await qemuImg('check', '--output=json', path);
    assert.deepEqual([checked['check-errors'], checked.leaks ?? 0, checked.corruptions ?? 0], [0, 0, 0]);
  });

  test('is refused for a disk that the layout cannot hold', async () => {
    const tooLarge = { clusterSizeBytes: 64 * kib, subclusters: false, virtualSizeBytes: 4096 * tib };
    await assert.rejects(make('never.qcow2', tooLarge), RangeError);
  });
});
