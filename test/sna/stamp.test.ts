import assert from 'node:assert/strict';
import { mkdtemp, open, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execa } from 'execa';
import { createPrograms } from '#sna/programs.ts';
import { quietStamp, stampOf } from '#sna/sources/disk-image/stamp.ts';

const file = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'stamp-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'disk.raw');
  await writeFile(path, Buffer.alloc(8192, 1));
  return path;
};

const never = new AbortController().signal;
const stamped = async (path: string) => quietStamp([path], await createPrograms(), never);

test('a write changes the stamp, also when the writer sets the time of modification back', async (t) => {
  const path = await file(t);
  const before = await stamped(path);
  const { atime, mtime } = await stat(path);
  const disk = await open(path, 'r+');
  await disk.write(Buffer.alloc(512, 2), 0, 512, 0);
  await disk.close();
  await utimes(path, atime, mtime);
  assert.notEqual(await stampOf([path]), before?.stamp);
});

const systemCalls: Readonly<Record<string, readonly [number, number]>> = { x64: [9, 0], arm64: [222, 63] };
// Maps the file, shared and writable, and lets read(2) put one byte of stdin into the map, twice.
const mapAndWrite = `
  my ($path, $mmap, $read) = ($ARGV[0], $ARGV[1] + 0, $ARGV[2] + 0);
  $| = 1;
  open(my $file, '+<', $path) or die;
  my $address = syscall($mmap, 0, 8192, 3, 1, fileno($file), 0);
  for (1, 2) { syscall($read, 0, $address, 1) == 1 or die; print "written\\n" }
  sleep 60;`;

test('a write through a memory map that was there before changes the stamp', async (t) => {
  const path = await file(t);
  const [mmap, read] = systemCalls[process.arch] ?? assert.fail(`no system call numbers for ${process.arch}`);
  const writer = execa('perl', ['-e', mapAndWrite, path, String(mmap), String(read)], { reject: false });
  t.after(() => writer.kill('SIGKILL'));
  const lines = writer[Symbol.asyncIterator]();
  writer.stdin.write('a');
  await lines.next();
  const before = await stamped(path);
  assert.equal(before?.firm, false, 'somebody has it open for writing');
  writer.stdin.write('b');
  await lines.next();
  assert.notEqual(await stampOf([path]), before?.stamp);
});

test('a stamp is firm when nobody has the file open for writing, and not while somebody has', async (t) => {
  const path = await file(t);
  assert.equal((await stamped(path))?.firm, true);
  const reader = await open(path, 'r');
  assert.equal((await stamped(path))?.firm, true);
  const writer = await open(path, 'r+');
  assert.equal((await stamped(path))?.firm, false);
  await writer.close();
  await reader.close();
  assert.equal((await stamped(path))?.firm, true);
});

test('a file that was put in the place of another has another stamp', async (t) => {
  const path = await file(t);
  const before = await stamped(path);
  await execa('cp', ['-p', path, `${path}.new`]);
  await rename(`${path}.new`, path);
  assert.notEqual(await stampOf([path]), before?.stamp);
});
