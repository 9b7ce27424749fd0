import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { PermanentFailure, PortTaken } from '#process-managers/ports.ts';
import {
  assertSameContent,
  eventually,
  exporterFixture,
  isRunning,
  neverAborted,
  processesNaming,
} from './exporter-fixture.ts';

const isRoot = process.getuid?.() === 0;
const needsRoot = isRoot ? false : 'needs root to mount a file system';

test('an export listens when start returns, and after its stop nothing of it is left', async (t) => {
  const { hub, request, runtimeDir, uri, root } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request();
  const { pid, startedAt, ...rest } = await exporter.start(wanted, neverAborted);
  assert.deepEqual(rest, wanted);
  assert.ok(Math.abs(Date.now() - Date.parse(startedAt)) < 10_000);
  assert.equal((await execa('nbdinfo', ['--size', uri(wanted)])).stdout, `${16 * 2 ** 20}`);
  assert.deepEqual(await exporter.list(), [{ ...wanted, pid, startedAt }]);

  const stopped = await exporter.stop(wanted.exportId, neverAborted);
  assert.equal(stopped.outcome, 'clean');
  assert.equal(await isRunning(pid), false);
  assert.deepEqual(await readdir(runtimeDir), []);
  assert.deepEqual(await exporter.list(), []);
  assert.deepEqual([...(await processesNaming(root)).keys()], []);
  assert.equal((await exporter.stop(wanted.exportId, neverAborted)).outcome, 'not-running');
});

test('an image can be opened for writing as soon as its export has stopped', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  for (let round = 0; round < 5; round += 1) {
    const wanted = await request();
    await exporter.start(wanted, neverAborted);
    await exporter.stop(wanted.exportId, neverAborted);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write 0 64k', wanted.imagePath]);
  }
});

test('what clients wrote without a flush is in the image after a clean stop', async (t) => {
  const { hub, request, source, uri } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request();
  const sourcePath = await source();
  await exporter.start(wanted, neverAborted);
  await execa('nbdcopy', [sourcePath, uri(wanted)]);
  assert.equal((await exporter.stop(wanted.exportId, neverAborted)).outcome, 'clean');
  await assertSameContent(sourcePath, wanted.imagePath);
});

test('the process is tuned as measured, serves many clients and is bound to the given address only', async (t) => {
  const { hub, request, root } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request();
  const { pid } = await exporter.start(wanted, neverAborted);
  const args = (await processesNaming(root)).get(pid) ?? [];
  for (const arg of ['--cache=none', '--aio=io_uring', '--discard=unmap', '--detect-zeroes=unmap', '--shared=10', '-t'])
    assert.ok(args.includes(arg), `${arg} is missing in ${args.join(' ')}`);
  assert.equal(args.includes('-r'), false);
  const { stdout } = await execa('ss', ['--no-header', '-ltn', `sport = :${wanted.port}`]);
  assert.match(stdout, new RegExp(`^LISTEN\\s+\\d+\\s+\\d+\\s+127\\.0\\.0\\.1:${wanted.port}\\s`));
  assert.equal(stdout.split('\n').length, 1);
  await exporter.stop(wanted.exportId, neverAborted);
});

test('a read-only export refuses writes, needs no right to write, and always ends clean', async (t) => {
  const { hub, request, uri } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request({ readOnly: true });
  await chmod(wanted.imagePath, 0o444);
  const { pid } = await exporter.start(wanted, neverAborted);
  const { stdout } = await execa('nbdinfo', ['--json', uri(wanted)]);
  assert.equal(JSON.parse(stdout).exports[0].is_read_only, true);
  process.kill(pid, 'SIGKILL');
  await eventually('the process is gone', async () => !(await isRunning(pid)));
  assert.equal((await exporter.stop(wanted.exportId, neverAborted)).outcome, 'clean');
});

test('two starts of one id at once, and a third one later, give one process', async (t) => {
  const { hub, request, root } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request();
  const [one, two] = await Promise.all([exporter.start(wanted, neverAborted), exporter.start(wanted, neverAborted)]);
  assert.deepEqual(one, two);
  assert.deepEqual(await exporter.start({ ...wanted, port: wanted.port + 1 }, neverAborted), one);
  assert.equal((await processesNaming(root)).size, 1);
  await exporter.stop(wanted.exportId, neverAborted);
});

test('an id that serves one image is refused for another', async (t) => {
  const { hub, request, image } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request();
  await exporter.start(wanted, neverAborted);
  const other = { ...wanted, imagePath: await image('other') };
  await assert.rejects(exporter.start(other, neverAborted), PermanentFailure);
  await exporter.stop(wanted.exportId, neverAborted);
});

test('a port in use is told apart from other failures, and nothing stays behind', async (t) => {
  const { hub, request, runtimeDir, root } = await exporterFixture(t);
  const stranger = createServer();
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
  t.after(() => stranger.close());
  const address = stranger.address();
  assert.ok(address !== null && typeof address === 'object');
  const wanted = await request({ port: address.port });
  await assert.rejects(hub().start(wanted, neverAborted), (error) => {
    assert.ok(error instanceof PortTaken);
    assert.equal(error.port, wanted.port);
    return true;
  });
  assert.deepEqual(await readdir(runtimeDir), []);
  assert.equal((await processesNaming(root)).size, 0);
});

const permanentFailures = [
  { what: 'a locked image', prepare: lockedImage, words: /Failed to get "write" lock/ },
  { what: 'a missing image', prepare: missingImage, words: /No such file or directory/ },
  { what: 'a file that is no qcow2', prepare: garbageImage, words: /Image is not in qcow2 format/ },
];
for (const { what, prepare, words } of permanentFailures) {
  test(`${what} is a permanent failure in qemu's own words`, async (t) => {
    const fixture = await exporterFixture(t);
    const imagePath = await prepare(fixture);
    const wanted = await fixture.request({ imagePath });
    await assert.rejects(fixture.hub().start(wanted, neverAborted), (error) => {
      assert.ok(error instanceof PermanentFailure);
      assert.match(error.message, words);
      return true;
    });
    assert.deepEqual(
      (await readdir(fixture.runtimeDir)).filter((name) => name.startsWith(wanted.exportId)),
      [],
    );
  });
}

type AnyFixture = Awaited<ReturnType<typeof exporterFixture>>;

async function lockedImage({ hub, request }: AnyFixture): Promise<string> {
  const { imagePath } = await hub().start(await request({ exportId: 'another' }), neverAborted);
  return imagePath;
}

async function missingImage({ root }: AnyFixture): Promise<string> {
  return join(root, 'missing.qcow2');
}

async function garbageImage({ root }: AnyFixture): Promise<string> {
  const path = join(root, 'garbage.qcow2');
  await writeFile(path, 'x'.repeat(4096));
  return path;
}

test('a program that is not installed is a permanent failure', async (t) => {
  const { hub, request, runtimeDir } = await exporterFixture(t);
  const exporter = hub({ program: '/nowhere/qemu-nbd' });
  await assert.rejects(exporter.start(await request(), neverAborted), PermanentFailure);
  assert.deepEqual(await readdir(runtimeDir), []);
});

test('ids and names that could leave the runtime directory are refused', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request();
  for (const bad of [
    { exportId: '../x' },
    { exportId: '.hidden' },
    { exportName: 'a/b' },
    { imagePath: 'relative.qcow2' },
  ])
    await assert.rejects(exporter.start({ ...wanted, ...bad }, neverAborted), PermanentFailure);
  await assert.rejects(exporter.stop('../x', neverAborted), PermanentFailure);
});

test('an aborted start leaves neither process nor file', async (t) => {
  const { hub, request, runtimeDir, root } = await exporterFixture(t);
  const program = join(root, 'never-listens');
  await writeFile(program, '#!/bin/sh\nexec sleep 1000\n', { mode: 0o755 });
  const abort = new AbortController();
  const starting = hub({ program }).start(await request(), abort.signal);
  const rejected = assert.rejects(starting, /not needed any more/);
  await eventually('the program runs', async () =>
    (await readdir(runtimeDir).catch(() => [])).some((name) => name.endsWith('.log')),
  );
  abort.abort(new Error('not needed any more'));
  await rejected;
  assert.deepEqual(await readdir(runtimeDir), []);
});

test('established connections of a port are counted, listeners and other ports are not', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  const wanted = await request();
  await exporter.start(wanted, neverAborted);
  assert.equal(await exporter.countConnections(wanted.port), 0);
  const clients = [1, 2].map(() => connect(wanted.port, '127.0.0.1'));
  await eventually('both clients are counted', async () => (await exporter.countConnections(wanted.port)) === 2);
  assert.equal((await exporter.stop(wanted.exportId, neverAborted)).outcome, 'clean', 'with clients connected');
  for (const client of clients) client.destroy();
});

test('a host without io_uring is served with native AIO, and is asked only once', async (t) => {
  const { hub, request, root, image } = await exporterFixture(t);
  const program = join(root, 'qemu-nbd-without-io-uring');
  const refusal = "qemu-nbd: Failed to blk_new_open 'x': Unable to use io_uring: failed to init linux io_uring ring";
  const lines = [
    '#!/bin/sh',
    `echo try >> ${root}/tries`,
    `case "$*" in *--aio=io_uring*) echo "${refusal}" >&2; exit 1;; esac`,
    'exec qemu-nbd "$@"',
  ];
  await writeFile(program, `${lines.join('\n')}\n`, { mode: 0o755 });
  const exporter = hub({ program });
  const first = await exporter.start(await request({ exportId: 'first' }), neverAborted);
  await exporter.start(await request({ exportId: 'second', imagePath: await image('second') }), neverAborted);
  assert.ok((await processesNaming(root)).get(first.pid)?.includes('--aio=native'));
  assert.equal(await readFile(join(root, 'tries'), 'utf8'), 'try\ntry\ntry\n');
  for (const id of ['first', 'second']) assert.equal((await exporter.stop(id, neverAborted)).outcome, 'clean');
});

test('an image on a file system without O_DIRECT is served through the cache', { skip: needsRoot }, async (t) => {
  const { hub, request, root, uri, source } = await exporterFixture(t);
  const folder = join(root, 'ramfs');
  await mkdir(folder);
  await execa('mount', ['-t', 'ramfs', 'ramfs', folder]);
  try {
    const imagePath = join(folder, 'disk.qcow2');
    await execa('qemu-img', ['create', '-f', 'qcow2', imagePath, '16M']);
    const exporter = hub();
    const wanted = await request({ imagePath });
    const { pid } = await exporter.start(wanted, neverAborted);
    assert.ok((await processesNaming(root)).get(pid)?.includes('--cache=writeback'));
    const sourcePath = await source();
    await execa('nbdcopy', [sourcePath, uri(wanted)]);
    assert.equal((await exporter.stop(wanted.exportId, neverAborted)).outcome, 'clean');
    await assertSameContent(sourcePath, imagePath);
  } finally {
    await execa('umount', [folder]);
  }
});

test('clients are not kept waiting by delayed acknowledgements: what is accepted has TCP_NODELAY', async () => {
  const script = fileURLToPath(new URL('../../../src/infra/qemu/listen-without-delay.pl', import.meta.url));
  // Stands in for qemu-nbd: connects to itself and asks the kernel about the accepted end.
  const look = [
    'use Socket qw(:all);',
    'open(my $listener, "+<&=", $ENV{LISTEN_FDS} + 2) or die $!;',
    'die "not for me" if $ENV{LISTEN_PID} != $$;',
    'socket(my $client, AF_INET, SOCK_STREAM, 0); connect($client, getsockname($listener)) or die $!;',
    'accept(my $accepted, $listener) or die $!;',
    'print unpack("i", getsockopt($accepted, IPPROTO_TCP, TCP_NODELAY));',
  ].join(' ');
  const { stdout } = await execa('perl', [script, '127.0.0.1', '0', 'perl', '-e', look]);
  assert.equal(stdout, '1');
});
