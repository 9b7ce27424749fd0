import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../../support/eventually.ts';
import { filesOverHttp } from './restore-files-support.ts';

const run = promisify(execFile);
const mib = 1024 ** 2;

test('a file comes as an attachment, whatever it is', async (t) => {
  const { ask } = await filesOverHttp(t);
  const response = await ask('single', 'download', { path: '/folder/sub/page.html' });
  const headers = Object.fromEntries(response.headers);
  assert.equal(await response.text(), '<script>');
  assert.equal(headers['content-type'], 'text/html');
  assert.equal(headers['content-length'], '8');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['content-disposition'], `attachment; filename="page.html"; filename*=UTF-8''page.html`);
  assert.equal(headers['accept-ranges'], 'bytes');
});

test('names in headers are quoted, whatever is in them', async (t) => {
  const { ask, single } = await filesOverHttp(t);
  const name = `a"b\\c\r\nX-Evil: 1 é'%41.pdf`;
  await writeFile(join(single, name), 'x');
  const response = await ask('single', 'download', { path: `/${name}` });
  assert.equal(await response.text(), 'x');
  assert.equal(response.headers.get('x-evil'), null);
  assert.equal(
    response.headers.get('content-disposition'),
    `attachment; filename="a_b_c__X-Evil: 1 _'_41.pdf"; filename*=UTF-8''a%22b%5Cc__X-Evil%3A%201%20%C3%A9%27%2541.pdf`,
  );
});

test('parts of a file are served, and conditions on them', async (t) => {
  const { ask } = await filesOverHttp(t);
  const part = async (headers: Record<string, string>) => {
    const response = await ask('single', 'download', { path: '/folder/hello.txt' }, { headers });
    return [response.status, await response.text(), response.headers.get('content-range')] as const;
  };
  const { headers } = await ask('single', 'download', { path: '/folder/hello.txt' }, { method: 'HEAD' });
  const [etag = '', date = ''] = [headers.get('etag') ?? '', headers.get('last-modified') ?? ''];
  assert.equal(headers.get('content-length'), '11');
  assert.equal(date, 'Sun, 13 Sep 2020 12:26:40 GMT');
  const whole = [200, 'hello, file', null];
  assert.deepEqual(await part({ range: 'bytes=0-4' }), [206, 'hello', 'bytes 0-4/11']);
  assert.deepEqual(await part({ range: 'bytes=7-' }), [206, 'file', 'bytes 7-10/11']);
  assert.deepEqual(await part({ range: 'bytes=-4' }), [206, 'file', 'bytes 7-10/11']);
  assert.deepEqual(await part({ range: 'bytes=0-1,3-4' }), whole);
  assert.deepEqual((await part({ range: 'bytes=11-' }))[0], 416);
  assert.equal((await part({ range: 'bytes=11-' }))[2], 'bytes */11');
  for (const condition of [etag, date])
    assert.deepEqual(await part({ range: 'bytes=7-', 'if-range': condition }), [206, 'file', 'bytes 7-10/11']);
  for (const condition of ['"other"', `W/${etag}`, 'Sun, 13 Sep 2020 12:26:41 GMT'])
    assert.deepEqual(await part({ range: 'bytes=7-', 'if-range': condition }), whole);
  assert.deepEqual((await part({ 'if-none-match': etag }))[0], 304);
  assert.deepEqual((await part({ 'if-modified-since': date }))[0], 304);
  assert.deepEqual((await part({ 'if-match': '"other"' }))[0], 412);
  assert.deepEqual((await part({ 'if-unmodified-since': 'Sun, 13 Sep 2020 12:26:39 GMT' }))[0], 412);
  assert.deepEqual(await part({ 'if-match': etag, 'if-none-match': '"other"' }), whole);
});

test('an empty file is downloaded as one', async (t) => {
  const { ask } = await filesOverHttp(t);
  const response = await ask('single', 'download', { path: '/empty' });
  assert.deepEqual([response.status, await response.text(), response.headers.get('content-length')], [200, '', '0']);
});

test('curl goes on where a download broke off', async (t) => {
  const { at, single, root } = await filesOverHttp(t);
  const content = randomBytes(5 * mib + 3);
  await writeFile(join(single, 'big'), content);
  const file = join(root, 'partly');
  await writeFile(file, content.subarray(0, 2 * mib + 1));
  await run('curl', ['-sSf', '-C', '-', '-o', file, at('single', 'download', { path: '/big' })]);
  assert.ok(content.equals(await readFile(file)));
});

test('every byte of a big file arrives, also when its reader is slow', async (t) => {
  const { at, single } = await filesOverHttp(t);
  const content = randomBytes(9 * mib + 5);
  await writeFile(join(single, 'big'), content);
  const [response] = (await once(get(at('single', 'download', { path: '/big' })), 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) {
    parts.push(part);
    // Now and then long enough for the pieces behind it to be read, and their memory to be used again.
    if (parts.length % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(content.equals(Buffer.concat(parts)));
});

test('a folder comes as zip, by either way, under its own name or that of the disk', async (t) => {
  const { ask, root } = await filesOverHttp(t);
  for (const [mount, route, path, name, entry] of [
    ['single', 'download', '/folder', 'folder.zip', 'hello.txt'],
    ['single', 'download-directory', '/', 'web-disk0.zip', 'folder/hello.txt'],
    ['parted', 'download', '/', 'web-disk0.zip', 'partition-2/System Volume Information/log'],
    ['parted', 'download', '/Partition 2 (1 GB)', 'partition-2.zip', 'System Volume Information/log'],
  ] as const) {
    const response = await ask(mount, route, { path });
    assert.equal(response.headers.get('content-type'), 'application/zip');
    assert.match(response.headers.get('content-disposition') ?? '', new RegExp(`filename="${name}"`));
    const file = join(root, 'archive.zip');
    await writeFile(file, new Uint8Array(await response.arrayBuffer()));
    assert.ok((await run('unzip', ['-l', file])).stdout.includes(`   ${entry}\n`), name);
  }
  const tar = await ask('single', 'download-directory', { path: '/folder', format: 'tar.gz' });
  assert.equal(tar.headers.get('content-type'), 'application/gzip');
  assert.match(tar.headers.get('content-disposition') ?? '', /filename="folder\.tar\.gz"/);
  await tar.arrayBuffer();
  assert.equal((await ask('single', 'download-directory', { path: '/folder', format: 'rar' })).status, 400);
  assert.equal((await ask('single', 'download-directory', { path: '/folder/hello.txt' })).status, 400);
});

test('a download is in the audit trail before its first byte, and once more when it breaks off', async (t) => {
  const { ask, at, single, entries, mounts, told } = await filesOverHttp(t);
  await (await ask('single', 'download', { path: '/folder/hello.txt' }, { headers: { range: 'bytes=0-4' } })).text();
  assert.deepEqual(entries[0]?.facts, {
    ...{
      path: '/folder/hello.txt',
      backup_id: 'backup-web-1',
      vm_name: 'web',
      disk_index: '0',
      bytes: '5',
      range: '0-4',
    },
  });
  await (await ask('single', 'download', { path: '/folder' })).arrayBuffer();
  await eventually('the archive has ended', () => entries.length === 3);
  assert.deepEqual([entries[2]?.facts.files, entries[2]?.facts.unreadable], ['2', '0']);
  const sparse = await open(join(single, 'sparse'), 'w');
  await sparse.truncate(512 * mib);
  await sparse.close();
  const request = get(at('single', 'download', { path: '/sparse' }));
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await once(response, 'readable');
  request.on('error', () => undefined).destroy();
  await eventually('it is told that it broke off', () => told().includes('DownloadFile failed broken-off'));
  assert.ok(Number(entries.at(-1)?.facts.bytes) < 512 * mib);
  await eventually('the mount is let go', () => mounts.held('single') === 0);
});

test('an unmount breaks off what is being read, and the client does not take a half for the whole', async (t) => {
  const { at, single, mounts, lines } = await filesOverHttp(t);
  const sparse = await open(join(single, 'sparse'), 'w');
  await sparse.truncate(2048 * mib);
  await sparse.close();
  for (const route of ['download', 'download-directory']) {
    const path = route === 'download' ? '/sparse' : '/';
    const [response] = (await once(get(at('single', route, { path })), 'response')) as [IncomingMessage];
    await once(response, 'readable');
    let [before, quiet] = [0, 0];
    await eventually('all buffers on the way are full', () => {
      const { bytesRead } = response.socket;
      quiet = bytesRead === before ? quiet + 1 : 0;
      before = bytesRead;
      return quiet === 3;
    });
    mounts.breakOff('single');
    const letGo = () => mounts.held('single') === 0;
    await eventually('the mount is let go, though the client takes nothing', letGo, 5_000);
    await assert.rejects(async () => {
      for await (const _ of response) assert.ok(true);
    });
    await eventually('the mount is let go', () => mounts.held('single') === 0);
  }
  assert.deepEqual(
    lines.filter(({ level }) => level === 'error'),
    [],
  );
});
