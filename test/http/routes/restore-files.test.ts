import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BrowseFiles, ListedFile } from '#commands/browse-files.ts';
import { restoreFilesEndpoints } from '#http/routes/restore-files.ts';
import { createAccessAudit } from '#http/routes/restore-files-audit.ts';
import { eventually } from '../../support/eventually.ts';
import { mountOfFolders } from '../../support/mounted-folders.ts';
import { memoryLog, serveApp } from '../support.ts';
import { filesOverHttp, listed } from './restore-files-support.ts';

test('a folder is listed by name, with what clients print of each entry', async (t) => {
  const { ask } = await filesOverHttp(t);
  const response = await ask('single', 'files', { path: '/folder' });
  assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
  assert.deepEqual(await response.json(), {
    mount_id: 'single',
    path: '/folder',
    files: [
      {
        ...{ name: 'hello.txt', path: '/folder/hello.txt', type: 'file', size: 11, mode: '0644' },
        ...{ modified_time: '2020-09-13T12:26:40.000Z', is_symlink: false },
      },
      ...(await listed(await ask('single', 'files', { path: '/folder' }))).files.slice(1),
    ],
    total_count: 2,
  });
});

test('the filesystems of a partitioned disk are folders, under both forms of their names', async (t) => {
  const { ask } = await filesOverHttp(t);
  const { files, total_count } = await listed(await ask('parted', 'files'));
  assert.equal(total_count, 2);
  assert.deepEqual(files, [
    {
      ...{ name: 'Partition 1 - System_Boot (100.0 MB)', path: '/partition-1', type: 'directory', size: 104_857_600 },
      ...{ mode: '0755', modified_time: '2026-01-02T03:04:05.000Z', is_symlink: false },
    },
    {
      ...{ name: 'Partition 2 (100.4 GB)', path: '/partition-2', type: 'directory', size: 107_803_858_534 },
      ...{ mode: '0755', modified_time: '2026-01-02T03:04:05.000Z', is_symlink: false },
    },
  ]);
  const shown = '/Partition 2 (100.4 GB)/System Volume Information';
  const below = await listed(await ask('parted', 'files', { path: shown }));
  assert.equal(below.path, shown);
  assert.equal(below.files[0]?.path, '/partition-2/System Volume Information/log');
  const content = await ask('parted', 'download', { path: `${shown}/log` });
  assert.equal(await content.text(), 'second');
  const whole = await listed(await ask('parted', 'files', { recursive: 't' }));
  assert.deepEqual(
    whole.files.map(({ path }) => path),
    [
      '/partition-1',
      '/partition-2',
      '/partition-2/System Volume Information',
      '/partition-2/System Volume Information/log',
    ],
  );
});

const refusals: readonly (readonly [mount: string, path: string, status: number])[] = [
  ['none', '/', 404],
  ['single', '/missing', 404],
  ['single', '/folder/hello.txt/below', 404],
  ['single', '/folder/hello.txt', 400],
  ['single', '/..', 403],
  ['single', '/folder/../folder', 403],
  ['single', '/folder/..', 403],
  ['single', '/outside', 403],
  ['single', '/outside/..', 403],
  ['single', '/%2e%2e/%2e%2e', 404],
  ['single', '/..\\..', 404],
  ['single', '/folder\0', 400],
  ['single', '/Partition 1', 404],
  ['parted', '/Partition x', 400],
  ['parted', '/Partition 9', 404],
  ['parted', '/partition-0', 404],
  ['parted', '/partition-02', 404],
  ['parted', '/partition-1/../partition-2', 403],
  ['parted', '/partition-1/../../../../../etc', 403],
  ['parted', '/elsewhere', 404],
];

test('what leads nowhere or out is refused, and the refusal is in the audit trail', async (t) => {
  const { ask, told, entries, mounts } = await filesOverHttp(t);
  for (const [mount, path, status] of refusals) {
    const response = await ask(mount, 'files', { path });
    const body = (await response.json()) as { error: string; message: string };
    assert.equal(response.status, status, `${mount} ${path}: ${body.error}`);
    assert.equal(body.message, body.error);
  }
  assert.equal(told().length, refusals.length);
  assert.ok(told().every((line) => line.startsWith('ListFiles refused ')));
  assert.equal(entries[4]?.facts.path, '/..');
  assert.equal(mounts.held('single') + mounts.held('parted'), 0);
});

test('a link is told as one, and followed only by who goes through it', async (t) => {
  const { ask } = await filesOverHttp(t);
  const info = async (path: string) => (await ask('single', 'file-info', { path })).json();
  const link = (await info('/link')) as Record<string, unknown>;
  assert.deepEqual([link.type, link.is_symlink, link.symlink_target], ['file', true, 'folder/hello.txt']);
  assert.equal(((await info('/outside')) as Record<string, unknown>).symlink_target, '/etc/passwd');
  assert.equal(await (await ask('single', 'download', { path: '/link' })).text(), 'hello, file');
  assert.equal((await ask('single', 'file-info')).status, 400);
});

test('pages of a list are the whole list, and say when there is more', async (t) => {
  const { ask } = await filesOverHttp(t);
  for (const [mount, recursive] of [
    ['single', 'true'],
    ['single', 'no'],
    ['parted', '1'],
  ] as const) {
    const whole = await listed(await ask(mount, 'files', { recursive }));
    assert.equal(whole.truncated, undefined);
    const found = [];
    let cursor: string | undefined;
    do {
      const page = await listed(await ask(mount, 'files', { recursive, limit: '1', ...(cursor ? { cursor } : {}) }));
      assert.ok(page.files.length <= 1);
      assert.equal(page.truncated, page.next_cursor === undefined ? undefined : true);
      found.push(...page.files);
      cursor = page.next_cursor;
    } while (cursor !== undefined);
    assert.deepEqual(found, whole.files);
  }
});

test('a recursive list is written while it is found', async (t) => {
  const { ask, single, mounts } = await filesOverHttp(t);
  for (let folder = 0; folder < 4; folder += 1) {
    await mkdir(join(single, 'many', `${folder}`), { recursive: true });
    await Promise.all(
      Array.from({ length: 600 }, (_, file) => writeFile(join(single, 'many', `${folder}`, `${file}`), '')),
    );
  }
  const response = await ask('single', 'files', { path: '/many', recursive: 'true' });
  const reader = response.body?.getReader();
  let text = '';
  while (!text.includes('/many/0/1')) text += Buffer.from((await reader?.read())?.value ?? []).toString();
  assert.ok(!text.includes('total_count'), 'the end is not there yet');
  await reader?.cancel();
  await eventually('the mount is let go', () => mounts.held('single') === 0);
});

test('a recursive list ends at its bound, that of one folder does not', async (t) => {
  const limits: number[] = [];
  const browse: BrowseFiles = {
    list: async ({ limit }) => {
      limits.push(limit);
      const parts = (async function* () {
        yield* [] as ListedFile[][];
        return { count: limit, cursor: 'last', unreadable: 2 };
      })();
      return {
        mount: mountOfFolders({ partitions: [] }),
        gone: new AbortController().signal,
        parts,
        close: async () => undefined,
      };
    },
    info: () => Promise.reject(new Error('not asked for')),
  };
  const audit = createAccessAudit({ record: async () => undefined });
  const { url } = await serveApp(t, { endpoints: restoreFilesEndpoints({ browse, audit, log: memoryLog().log }) });
  const ask = async (query: string) => (await fetch(`${url}/api/v1/restore/m/files?${query}`)).json();
  const end = { truncated: true, next_cursor: 'bGFzdA', unreadable_count: 2 };
  assert.deepEqual(await ask('recursive=1'), { mount_id: 'm', path: '/', files: [], total_count: 50_000, ...end });
  await ask('recursive=1&limit=7');
  await ask('recursive=0');
  assert.deepEqual(limits, [50_000, 7, Number.POSITIVE_INFINITY]);
});

test('a search finds names by a pattern, below a folder, as a list or line by line', async (t) => {
  const { ask } = await filesOverHttp(t);
  const find = async (query: Record<string, string>) =>
    (await listed(await ask('single', 'search', query))).files.map(({ path }) => path);
  assert.deepEqual(await find({ pattern: '*.HTML' }), ['/folder/sub/page.html']);
  assert.deepEqual(await find({ pattern: '*.HTML', case_sensitive: 'true' }), []);
  assert.deepEqual(await find({ pattern: 'age' }), ['/folder/sub/page.html']);
  assert.deepEqual(await find({ pattern: '[hl]*' }), ['/folder/hello.txt', '/link']);
  assert.deepEqual(await find({ pattern: '*', path: '/folder/sub' }), ['/folder/sub/page.html']);
  const lines = (await (await ask('single', 'search', { pattern: '*l*', format: 'ndjson' })).text()).trim().split('\n');
  const parsed = lines.map((line) => JSON.parse(line) as { path?: string; total_count?: number });
  assert.deepEqual(
    parsed.map(({ path }) => path),
    ['/folder', '/folder/hello.txt', '/folder/sub/page.html', '/link', undefined],
  );
  assert.equal(parsed.at(-1)?.total_count, 4);
  assert.equal((await ask('single', 'search', { pattern: '[a' })).status, 400);
  assert.equal((await ask('single', 'search', {})).status, 400);
});

test('every look is audited with who, what and whose backup; the mount is let go of each time', async (t) => {
  const { ask, entries, told, mounts } = await filesOverHttp(t);
  await (await ask('single', 'files', { path: '/folder' })).text();
  await (await ask('single', 'search', { pattern: '*' })).text();
  await (await ask('single', 'file-info', { path: '/folder' })).text();
  assert.deepEqual(told(), ['ListFiles accepted', 'SearchFiles accepted', 'InspectFile accepted']);
  const [first] = entries;
  assert.deepEqual([first?.objectType, first?.objectId, first?.actor], ['restoreMount', 'single', 'user:anonymous']);
  assert.deepEqual(first?.facts, { path: '/folder', backup_id: 'backup-web-1', vm_name: 'web', disk_index: '0' });
  await eventually('the mount is let go', () => mounts.held('single') === 0);
});

test('names that are no UTF-8 are listed, and asked for by what the list tells', async (t) => {
  const { ask, single } = await filesOverHttp(t);
  await writeFile(Buffer.from(`${single}/Gr\xf6\xdfe.txt`, 'latin1'), 'in Latin-1');
  const { files } = await listed(await ask('single', 'files'));
  const file = files.find(({ name }) => name.startsWith('Gr'));
  assert.ok(file);
  const response = await ask('single', 'download', { path: file.path });
  assert.equal(await response.text(), 'in Latin-1');
  assert.match(
    response.headers.get('content-disposition') ?? '',
    /filename="Gr__e\.txt"; filename\*=UTF-8''Gr__e\.txt$/,
  );
});
