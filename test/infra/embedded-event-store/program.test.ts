import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isRunning, spawnStore, untilGone } from './child-process.ts';
import { collect, connect, happened, startServer, tempDir } from './support.ts';

test('the program says where it is once it is ready, and stops cleanly when told to', async (t) => {
  const dataDir = await tempDir(t);
  const { subprocess, ready } = spawnStore(t, dataDir);
  const address = await ready;
  assert.deepEqual(address, {
    connection: `esdb://127.0.0.1:${address.port}?tls=false`,
    port: address.port,
    pid: subprocess.pid,
  });
  assert.deepEqual(JSON.parse(await readFile(join(dataDir, 'event-store.json'), 'utf8')), address);
  const client = connect(t, address.connection);
  await client.appendToStream('order-1', happened(0));
  const subscription = client.subscribeToAll();
  const failed = new Promise<Error>((resolve) => subscription.once('error', resolve));
  subscription.resume();
  subprocess.kill('SIGTERM');
  assert.equal((await subprocess).exitCode, 0);
  assert.equal((await failed).name, 'Error');
  const left = (await readdir(dataDir)).filter((name) => name !== 'compile-cache');
  assert.deepEqual(left, ['event-store.acknowledged', 'events.sqlite']);
});

test('a second start on the same data is refused with one sentence that names program and pid', async (t) => {
  const dataDir = await tempDir(t);
  const first = spawnStore(t, dataDir);
  const { pid, connection } = await first.ready;
  const { exitCode, stderr, stdout } = await spawnStore(t, dataDir).subprocess;
  assert.equal(exitCode, 1);
  assert.equal(stdout, '');
  assert.equal(stderr, `The event store in ${dataDir} is already in use by the Sendense event store with pid ${pid}.`);
  const client = connect(t, connection);
  await client.appendToStream('order-1', happened(0));
  assert.equal((await collect(client.readStream('order-1'))).length, 1);
});

test('a start after kill -9 is not refused', async (t) => {
  const dataDir = await tempDir(t);
  const first = spawnStore(t, dataDir);
  await first.ready;
  first.subprocess.kill('SIGKILL');
  await first.subprocess;
  const second = spawnStore(t, dataDir);
  assert.equal((await second.ready).pid, second.subprocess.pid);
});

test('a successor waits for its predecessor to let go', async (t) => {
  const { server, dataDir } = await startServer(t);
  const { subprocess, ready } = spawnStore(t, dataDir, ['--exit-with-parent']);
  assert.match(await readFile(`/proc/${subprocess.pid}/cmdline`, 'utf8'), /child\.ts/);
  await server.close();
  assert.equal((await ready).pid, subprocess.pid);
});

test('the program stops when the process that started it closes its stdin', async (t) => {
  const { subprocess, ready } = spawnStore(t, await tempDir(t), ['--exit-with-parent']);
  const { pid } = await ready;
  subprocess.stdin.end();
  assert.equal((await subprocess).exitCode, 0);
  await untilGone(pid);
});

test('without that option the end of stdin means nothing', async (t) => {
  const { subprocess, ready } = spawnStore(t, await tempDir(t));
  const { pid, connection } = await ready;
  const client = connect(t, connection);
  subprocess.stdin.end();
  await client.appendToStream('order-1', happened(0));
  assert.ok(await isRunning(pid));
});

test('listening beyond loopback is refused with one sentence', async (t) => {
  const { exitCode, stderr } = await spawnStore(t, await tempDir(t), ['--host', '0.0.0.0']).subprocess;
  assert.equal(exitCode, 1);
  assert.match(stderr, /^The event store cannot listen on 0\.0\.0\.0: .*loopback only\.$/);
});

test('a port that is taken is refused with one sentence', async (t) => {
  const { server } = await startServer(t);
  const { exitCode, stderr } = await spawnStore(t, await tempDir(t), ['--port', String(server.port)]).subprocess;
  assert.equal(exitCode, 1);
  assert.equal(stderr, `The event store cannot listen on 127.0.0.1:${server.port}: the port is taken.`);
});
