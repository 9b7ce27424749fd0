import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, link, lutimes, mkdir, open, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { crc32, gunzipSync } from 'node:zlib';
import type { ArchiveFormat } from '#commands/file-tree-ports.ts';
import { PiecePool } from '#commands/piece-pool.ts';
import type { ArchiveEntry, ArchiveOptions } from '#infra/backup-files/archive-entries.ts';
import { Unreadable } from '#infra/backup-files/unreadable.ts';
import { zipOf } from '#infra/backup-files/zip.ts';
import { centralHeader, endRecords, localHeader } from '#infra/backup-files/zip-records.ts';
import { temporaryFolder } from '../../support/mounted-folders.ts';
import { archiveOf, joined, never, trees } from './support.ts';

const run = promisify(execFile);

const from = async function* (entries: readonly ArchiveEntry[]): AsyncGenerator<ArchiveEntry> {
  yield* entries;
};
const block = 256 * 1024;

/** Everything that an archive has to keep. */
const fill = async (root: string): Promise<void> => {
  await mkdir(join(root, 'folder/empty'), { recursive: true });
  await writeFile(join(root, 'folder/one block'), randomBytes(block));
  await writeFile(join(root, 'folder/and a bit'), Buffer.concat([Buffer.alloc(block, 'ab'), Buffer.from('c')]));
  await writeFile(join(root, 'folder/many blocks'), randomBytes(5 * block + 17));
  await writeFile(join(root, 'nothing'), '');
  await writeFile(join(root, 'Größe'), 'in UTF-8');
  await writeFile(Buffer.from(`${root}/Gr\xf6\xdfe`, 'latin1'), 'in Latin-1');
  await writeFile(join(root, `${'long '.repeat(40)}name`), 'long');
  await writeFile(join(root, 'run.sh'), '#!/bin/sh');
  await chmod(join(root, 'run.sh'), 0o4751);
  const sparse = await open(join(root, 'sparse'), 'w');
  await sparse.write('end', 3 * block);
  await sparse.close();
  await link(join(root, 'run.sh'), join(root, 'second name'));
  await symlink('folder/one block', join(root, 'link'));
  await symlink('x'.repeat(200), join(root, 'long link'));
  await lutimes(join(root, 'link'), 1e9, 1e9);
  await utimes(join(root, 'nothing'), 1e9, 1_234_567_890.123);
  await utimes(join(root, 'folder/empty'), 1e9, 1e9);
};

const unpacked = async (folder: string, bytes: Buffer, format: ArchiveFormat): Promise<string> => {
  const file = join(folder, `archive.${format}`);
  const target = join(folder, 'unpacked');
  await writeFile(file, bytes);
  await mkdir(target);
  if (format === 'zip') await run('unzip', ['-q', file, '-d', target]);
  else await run('tar', ['--extract', '--same-permissions', '--file', file, '--directory', target]);
  return target;
};

test('tar.gz gives back the whole tree: contents, links, permissions, owners and times', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  await mkdir(root);
  await fill(root);
  const target = await unpacked(folder, await archiveOf(root, 'tar.gz'), 'tar.gz');
  await run('diff', ['--recursive', '--no-dereference', root, target]);
  const listing = async (where: string) =>
    (
      await run('find', ['.', '-mindepth', '1', '-printf', '%p|%y|%m|%U|%G|%n|%T@|%l\\n'], {
        cwd: where,
        encoding: 'latin1',
      })
    ).stdout
      .split('\n')
      .map((line) => line.replace(/^(.*\|d\|\d+\|\d+\|\d+)\|\d+\|(.*)$/, '$1|$2'))
      .filter((line) => !line.startsWith('./folder|')) // unpacking into it changes its time
      .sort();
  assert.deepEqual(await listing(target), await listing(root));
});

test('zip gives back every file with its permissions and its time; links and folders are not in it', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  await mkdir(root);
  await fill(root);
  const target = await unpacked(folder, await archiveOf(root, 'zip'), 'zip');
  const differing = await run('diff', ['--recursive', '--no-dereference', root, target]).catch((error) => error.stdout);
  assert.deepEqual(differing.trim().split('\n').sort(), [
    `Only in ${root}/folder: empty`,
    `Only in ${root}: link`,
    `Only in ${root}: long link`,
  ]);
  assert.equal((await stat(join(target, 'run.sh'))).mode & 0o7777, 0o751);
  assert.equal((await stat(join(target, 'nothing'))).mtimeMs, 1_234_567_890_000);
});

test('what is in one block, in several, and in holes has the checksums that other programs compute', async (t) => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'root');
  await mkdir(root);
  await fill(root);
  const file = join(folder, 'archive.zip');
  await writeFile(file, await archiveOf(root, 'zip'));
  const script = 'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).testzip())';
  assert.equal((await run('python3', ['-c', script, file])).stdout.trim(), 'None');
});

const noAttributes = { mode: 0o644, modifiedNs: 0n, userId: 0, groupId: 0, sharedAs: undefined };
const python = async (script: string, file: string): Promise<string> =>
  (
    await run('python3', ['-c', `import sys, zipfile; archive = zipfile.ZipFile(sys.argv[1]); ${script}`, file])
  ).stdout.trim();

const options = (): ArchiveOptions => ({
  ...{ unreadable: new Unreadable(), signal: never, onFile: () => undefined, pool: new PiecePool(block) },
});

test('a file whose size needs 64 bits is in the zip in that form', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'file'), 'the rest');
  // It says that it is huge, and then it is not: what cannot be read is told in the list.
  const rest = await open(join(folder, 'file'));
  const entry = {
    kind: 'file',
    path: 'huge',
    attributes: noAttributes,
    sizeBytes: 5 * 1024 ** 3,
    first: Buffer.alloc(0),
    rest,
  } as const;
  const file = join(folder, 'archive.zip');
  await writeFile(file, await joined(zipOf(from([entry]), options())));
  assert.equal(await python('print(archive.testzip(), archive.read("huge").decode())', file), 'None the rest');
  assert.match(
    await python('print(archive.read("_unreadable-files.txt").decode())', file),
    /^huge: only the first 8 of 5368709120 bytes/m,
  );
  await run('unzip', ['-tqq', file]);
});

test('an entry behind 4 GiB is found', async (t) => {
  const folder = await temporaryFolder(t);
  const offset = 4 * 1024 ** 3 + 5;
  const content = Buffer.from('behind it');
  const zip = {
    name: Buffer.from('next'),
    nameIsUtf8: true,
    mode: 0o644,
    modifiedMs: 0,
    method: 0,
    streamed: false,
    large: false,
  } as const;
  const sizes = { crc: crc32(content), packedBytes: content.length, sizeBytes: content.length };
  const local = Buffer.concat([localHeader(zip, sizes), content]);
  const central = centralHeader(zip, sizes, offset);
  const end = endRecords({ entries: 1, offset: offset + local.length, sizeBytes: central.length });
  const file = join(folder, 'archive.zip');
  const handle = await open(file, 'w');
  await handle.write(Buffer.concat([local, central, end]), 0, undefined, offset);
  await handle.close();
  assert.equal(await python('print(archive.read("next").decode())', file), 'behind it');
});

test('more files than a plain zip counts are all in it', async (t) => {
  const folder = await temporaryFolder(t);
  const count = 70_000;
  const entries = (async function* () {
    const file = {
      kind: 'file',
      attributes: noAttributes,
      sizeBytes: 1,
      first: Buffer.from('x'),
      rest: undefined,
    } as const;
    for (let number = 0; number < count; number += 1) yield { ...file, path: `file-${number}` };
  })();
  const file = join(folder, 'archive.zip');
  await writeFile(file, await joined(zipOf(entries, options())));
  assert.equal(
    await python(`print(len(archive.namelist()), archive.read("file-${count - 1}").decode())`, file),
    `${count} x`,
  );
});

test('names that would lead out on other systems do not', async (t) => {
  const root = await temporaryFolder(t);
  for (const name of ['..\\..\\evil', '\\evil', 'a\\..\\b', 'unit-x2d\\x2d.mount'])
    await writeFile(join(root, name), '');
  const bytes = (await archiveOf(root, 'zip')).toString('latin1');
  assert.ok(!bytes.includes('..\\') && !bytes.includes('\\evil'));
  assert.ok(bytes.includes('unit-x2d\\x2d.mount'));
});

test('folders that are put together keep apart in the archive', async (t) => {
  const root = await temporaryFolder(t);
  await mkdir(join(root, 'a'));
  await writeFile(join(root, 'a/file'), 'a');
  const parts = [
    { prefix: 'partition-1', root, path: [] },
    { prefix: 'partition-2', root, path: ['a'] },
  ];
  const archive = await trees.archive(parts, 'tar.gz', never);
  const pieces: Uint8Array[] = [];
  for await (const piece of archive.body) pieces.push(Buffer.from(piece));
  await archive.close();
  const tar = gunzipSync(Buffer.concat(pieces)).toString('latin1');
  for (const path of ['partition-1/a/\0', 'partition-1/a/file\0', 'partition-2/file\0'])
    assert.ok(tar.includes(path), path);
});
