import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, stat } from 'node:fs/promises';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { eventually } from '../support/eventually.ts';
import { changeExtents } from '../support/lab-vm.ts';
import { notRoot } from '../support/root.ts';
import type { WireBackup } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

describe('whole disks of backups', () => {
  let world: World;
  let full: WireBackup;
  let increment: WireBackup;
  let atFull: Kept;
  let atIncrement: Kept;
  before(async () => {
    world = await World.open();
    full = await world.backUp('full');
    atFull = await world.keep();
    for (const disk of world.vm.disks) await changeExtents(disk, { count: 6, sizeBytes: mib, zeroHalf: true });
    increment = await world.backUp('incremental');
    atIncrement = await world.keep();
  });
  after(() => world.close());

  const urlOf = ({ backup_id }: WireBackup, disk: number, query = ''): string =>
    `${world.hub.url}/api/v1/backups/${backup_id}/disks/${disk}/export${query}`;

  const get = (url: string, headers: Record<string, string> = {}, method = 'GET') => fetch(url, { method, headers });

  /** On a connection of its own, which ends with it: fetch would open another in its place. */
  const begin = (url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      httpGet(url, { headers, agent: false }, (response) => {
        response.on('error', () => undefined); // it is broken off
        resolve(response);
      }).once('error', reject);
    });

  const refusal = async (url: string, headers: Record<string, string> = {}) => {
    const response = await get(url, headers);
    const { error } = (await response.json()) as { error: string };
    return { status: response.status, code: response.headers.get('x-error-code'), error };
  };

  const download = async (url: string, name: string): Promise<string> => {
    const path = join(world.folder, name);
    const response = await get(url);
    assert.equal(response.status, 200);
    assert.ok(response.body);
    await pipeline(Readable.fromWeb(response.body), createWriteStream(path));
    assert.equal((await stat(path)).size, Number(response.headers.get('content-length')));
    return path;
  };

  const assertSameDisk = async (path: string, format: string, source: string): Promise<void> => {
    const sourceFormat = source.endsWith('.qcow2') ? 'qcow2' : 'raw';
    const args = ['compare', '-f', format, '-F', sourceFormat, path, source];
    const { exitCode, stdout, stderr } = await execa('qemu-img', args, { reject: false });
    assert.equal(exitCode, 0, `${stdout} ${stderr}`);
  };

  const folders = (): Promise<readonly string[]> => readdir(join(world.hubData, 'disk-copies')).catch(() => []);

  /** What is being read right now; a copy that was made for qcow2 stays for a while. */
  const reading = async (): Promise<readonly string[]> => {
    const found = await Promise.all(
      (await folders()).map(async (name) =>
        (await readdir(join(world.hubData, 'disk-copies', name)).catch(() => ['owns-'])).some((file) =>
          file.startsWith('owns-'),
        )
          ? []
          : [name],
      ),
    );
    return found.flat();
  };

  const assertNothingLeft = async (): Promise<void> => {
    await eventually('programs and files of exports are gone', async () => (await reading()).length === 0);
    assert.deepEqual(await world.programs(), []);
  };

  test('are downloaded as raw, each as it was at its backup', async () => {
    for (const [backup, kept] of [[full, atFull] as const, [increment, atIncrement] as const]) {
      for (const [index, source] of kept.entries()) {
        const path = await download(urlOf(backup, index), `export-${index}.raw`);
        await assertSameDisk(path, 'raw', source);
      }
    }
    await assertNothingLeft();
  });

  test('are downloaded as qcow2 without a chain', async () => {
    const response = await get(urlOf(increment, 1, '?format=qcow2'), {}, 'HEAD');
    const path = await download(urlOf(increment, 1, '?format=qcow2'), 'export.qcow2');
    assert.equal((await stat(path)).size, Number(response.headers.get('content-length')));
    const { stdout } = await execa('qemu-img', ['info', '--output=json', path]);
    assert.equal(JSON.parse(stdout)['backing-filename'], undefined);
    assert.ok((await stat(path)).size < 60 * mib, 'holes are left out');
    await assertSameDisk(path, 'qcow2', atIncrement[1] ?? '');
    const [copy = ''] = (await readdir(join(world.repositoryPath, '.sendense', 'exports'))).filter((name) =>
      name.endsWith('.qcow2'),
    );
    assert.match(copy, /\.qcow2$/, 'it stays for a while, for who goes on with a download');
    const [start, rest] = await Promise.all(
      ['bytes=0-99999', 'bytes=100000-'].map(async (range) => {
        const part = await get(urlOf(increment, 1, '?format=qcow2'), {
          range,
          'if-range': response.headers.get('etag') ?? '',
        });
        assert.equal(part.status, 206);
        return Buffer.from(await part.arrayBuffer());
      }),
    );
    assert.ok(Buffer.concat([start ?? Buffer.alloc(0), rest ?? Buffer.alloc(0)]).equals(await readFile(path)));
  });

  test('are read from any byte on', async () => {
    const whole = await readFile(await download(urlOf(increment, 0), 'whole.raw'));
    const size = whole.length;
    const etag = (await get(urlOf(increment, 0), {}, 'HEAD')).headers.get('etag') ?? '';
    const parts = [
      ['bytes=0-0', 0, 1],
      ['bytes=1-511', 1, 511],
      [`bytes=${mib - 3}-${9 * mib + 6}`, mib - 3, 8 * mib + 10],
      [`bytes=${size - 1}-`, size - 1, 1],
      ['bytes=-700', size - 700, 700],
      [`bytes=${size - 5}-${size * 9}`, size - 5, 5],
    ] as const;
    for (const [range, offset, length] of parts) {
      const response = await get(urlOf(increment, 0), { range, 'if-range': etag });
      assert.equal(response.status, 206, range);
      assert.equal(response.headers.get('content-range'), `bytes ${offset}-${offset + length - 1}/${size}`);
      const bytes = Buffer.from(await response.arrayBuffer());
      assert.ok(bytes.equals(whole.subarray(offset, offset + length)), range);
    }
    const beyond = await get(urlOf(increment, 0), { range: `bytes=${size}-` });
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers.get('content-range'), `bytes */${size}`);
    const other = await begin(urlOf(increment, 0), { range: 'bytes=0-0', 'if-range': '"another"' });
    assert.equal(other.statusCode, 200, 'what changed is sent as a whole');
    other.destroy();
    await assertNothingLeft();
  });

  test('are announced to who only asks', async () => {
    const response = await get(urlOf(full, 0), {}, 'HEAD');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-length'), String(96 * mib));
    assert.equal(response.headers.get('accept-ranges'), 'bytes');
    assert.equal(response.headers.get('content-disposition'), `attachment; filename="${full.backup_id}-disk0.raw"`);
    assert.equal(await response.text(), '');
    await assertNothingLeft();
  });

  test('leave nothing behind when the reader goes away', async () => {
    const response = await begin(urlOf(full, 0));
    await once(response, 'readable');
    assert.equal((await reading()).length, 1);
    const brokenOffAt = performance.now();
    response.destroy();
    await assertNothingLeft();
    assert.ok(performance.now() - brokenOffAt < 1_000);
  });

  test('are read by four at a time, and the fifth is told to come again', async () => {
    const responses = await Promise.all([0, 0, 0, 0].map((disk) => begin(urlOf(increment, disk))));
    assert.deepEqual(
      responses.map(({ statusCode }) => statusCode),
      [200, 200, 200, 200],
    );
    assert.deepEqual(
      [await world.metric('sendense_restore_exports_open'), await world.metric('sendense_restore_exports_limit')],
      [4, 4],
    );
    const fifth = await refusal(urlOf(full, 1));
    assert.deepEqual([fifth.status, fifth.code], [503, 'exports-exhausted']);
    for (const response of responses) response.destroy();
    await assertNothingLeft();
    await eventually('there is room again', async () => {
      const again = await get(urlOf(full, 1), { range: 'bytes=0-0' });
      await again.arrayBuffer();
      return again.status === 206;
    });
    await assertNothingLeft();
  });

  test('are counted with the bytes that were sent', async () => {
    const route = '/api/v1/backups/:backup_id/disks/:disk_index/export';
    const sent = () => world.metric(`sendense_http_response_bytes_total{method="GET",route="${route}"}`);
    const before = await sent();
    const response = await get(urlOf(increment, 1), { range: `bytes=0-${3 * mib - 1}` });
    assert.equal((await response.arrayBuffer()).byteLength, 3 * mib);
    const bytes = await eventually('its end is counted', async () => (await sent()) - before || undefined);
    assert.ok(bytes > 3 * mib && bytes < 3 * mib + 4096, `${bytes}`); // with the headers
    assert.equal(await world.metric('sendense_restore_exports_open'), 0);
  });

  test('keep their backup from being deleted, for as long as they are read', async () => {
    const { backup_id: id } = increment;
    const response = await begin(urlOf(increment, 1));
    const refused = await world.call<{ error: string }>('DELETE', `/backups/${id}`);
    assert.deepEqual([refused.status, refused.headers.get('x-error-code')], [409, 'backup-being-read']);
    assert.match(refused.body.error, new RegExp(`disk 1 of ${id} is being downloaded`));
    assert.equal((await world.show(id)).status, 'completed');
    response.destroy();
    await eventually('nobody reads it any more', async () => {
      return (await world.call('DELETE', `/backups/${id}?dry_run=true`)).status === 200;
    });
    await assertNothingLeft();
  });

  test('are refused with a reason where there is none', async () => {
    assert.equal((await refusal(urlOf({ ...full, backup_id: 'backup-nobody-1' }, 0))).code, 'backup-not-found');
    assert.equal((await refusal(urlOf(full, 7))).code, 'backup-disk-not-found');
    assert.equal((await refusal(urlOf(full, 0, '?format=vmdk'))).status, 400);
    const image = full.disk_results[0]?.qcow2_path ?? '';
    await rename(image, `${image}.away`);
    try {
      for (const backup of [full, increment]) {
        const { status, code, error } = await refusal(urlOf(backup, 0));
        assert.deepEqual([status, code], [422, 'image-unreadable']);
        assert.match(error, /No such file/);
      }
    } finally {
      await rename(`${image}.away`, image);
    }
    await assertNothingLeft();
  });

  test('of a backup that runs are refused', async () => {
    const { backup_id } = await world.startSlowly('full');
    const { status, code } = await refusal(urlOf({ ...full, backup_id }, 0));
    assert.deepEqual([status, code], [409, 'backup-not-restorable']);
    await world.brake.off();
    assert.equal((await world.ended(backup_id)).status, 'completed');
  });

  test('are refused as qcow2 where there is no room for the file', { skip: notRoot }, async () => {
    const exported = join(world.repositoryPath, '.sendense', 'exports');
    await mkdir(exported, { recursive: true });
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', exported]);
    try {
      const { status, code, error } = await refusal(urlOf(full, 0, '?format=qcow2'));
      assert.deepEqual([status, code], [503, 'export-space-missing']);
      assert.match(error, /export it as raw/);
      assert.deepEqual(await readdir(exported), []);
    } finally {
      await execa('umount', [exported]);
    }
    await assertNothingLeft();
  });

  test('end when the hub stops, though their reader takes nothing', async () => {
    const response = await begin(urlOf(increment, 0));
    assert.equal(response.statusCode, 200);
    await eventually('it is being read', async () => (await reading()).length === 1);
    await world.stopHub();
    assert.deepEqual(await folders(), [], 'copies of qcow2 are gone as well');
    response.destroy();
    await world.startHub();
  });

  test('leave no program and no file when the hub is killed in the middle', async () => {
    const qcow2 = await get(urlOf(increment, 0, '?format=qcow2'), { range: 'bytes=0-9' });
    await qcow2.arrayBuffer();
    const response = await begin(urlOf(increment, 0));
    await once(response, 'readable');
    assert.equal((await folders()).length, 2, 'a copy as qcow2, and the folder of this export');
    await world.killHub();
    await assert.rejects(async () => {
      for await (const _ of response);
    }, 'a part is not taken for the whole');
    await eventually('the programs end with the hub', async () => (await world.programs()).length === 0);
    await world.startHub();
    assert.deepEqual(await folders(), []);
    const exported = join(world.repositoryPath, '.sendense', 'exports');
    assert.deepEqual(await readdir(exported).catch(() => []), []);
  });
});
