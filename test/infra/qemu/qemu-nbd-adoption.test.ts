import assert from 'node:assert/strict';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execa } from 'execa';
import { identify } from '#infra/qemu/process-table.ts';
import type { DiskExport, StartExport } from '#process-managers/ports.ts';
import {
  assertSameContent,
  eventually,
  exporterFixture,
  type Fixture,
  isRunning,
  neverAborted,
  processesNaming,
} from './exporter-fixture.ts';

const hubProgram = join(import.meta.dirname, 'hub-that-starts-an-export.ts');

/** A hub in a session of its own. It is killed with the test at the latest. */
const startHub = (t: TestContext, { runtimeDir }: Fixture, request: StartExport, options: object = {}) => {
  const argument = JSON.stringify({ options: { runtimeDir, ...options }, request });
  const hub = execa(process.execPath, [hubProgram, argument], {
    reject: false,
    buffer: false,
    stdin: 'ignore',
    detached: true,
  });
  t.after(() => hub.kill('SIGKILL'));
  return hub;
};

/** With its whole process group, as a terminal or a service manager would. */
const killHub = async (hub: ReturnType<typeof startHub>): Promise<void> => {
  assert.ok(hub.pid !== undefined);
  process.kill(-hub.pid, 'SIGKILL');
  await hub;
};

/** An export whose hub was killed with `kill -9` when it ran. */
const orphan = async (t: TestContext, fixture: Fixture): Promise<DiskExport> => {
  const hub = startHub(t, fixture, await fixture.request());
  for await (const line of hub) {
    await killHub(hub);
    return JSON.parse(line);
  }
  throw new Error('the hub said nothing');
};

const expectNothingLeft = async ({ root, runtimeDir }: Fixture): Promise<void> => {
  assert.deepEqual(await readdir(runtimeDir), []);
  await eventually('no process is left', async () => {
    const pids = [...(await processesNaming(root)).keys()];
    return (await Promise.all(pids.map(isRunning))).every((running) => !running);
  });
};

test('an export outlives a killed hub, and the next hub finds it, the same as before', async (t) => {
  const fixture = await exporterFixture(t);
  const { pid, startedAt, ...wanted } = await orphan(t, fixture);
  const exporter = fixture.hub();
  assert.deepEqual(await exporter.list(), [{ ...wanted, pid, startedAt }]);
  assert.deepEqual(await exporter.start(wanted, neverAborted), { ...wanted, pid, startedAt });
  assert.equal((await processesNaming(fixture.root)).size, 1);
  assert.equal((await exporter.stop(wanted.exportId, neverAborted)).outcome, 'clean');
  await expectNothingLeft(fixture);
});

test('an adopted export is flushed beside other clients, so what they wrote is in the image', async (t) => {
  const fixture = await exporterFixture(t);
  const adopted = await orphan(t, fixture);
  const sourcePath = await fixture.source();
  await execa('nbdcopy', [sourcePath, fixture.uri(adopted)]);
  const client = connect(adopted.port, '127.0.0.1');
  t.after(() => client.destroy());
  const exporter = fixture.hub();
  await eventually('the client is connected', async () => (await exporter.countConnections(adopted.port)) === 1);
  const stopped = await exporter.stop(adopted.exportId, neverAborted);
  assert.equal(stopped.outcome, 'clean');
  assert.match(stopped.detail, /acknowledged a flush/);
  await assertSameContent(sourcePath, adopted.imagePath);
  await expectNothingLeft(fixture);
});

test('an adopted export whose connections are all taken cannot be flushed, so its end is unclean', async (t) => {
  const fixture = await exporterFixture(t);
  const hub = startHub(t, fixture, await fixture.request({ sharedConnections: 1 }));
  const adopted = await new Promise<DiskExport>((resolve) =>
    hub.stdout.once('data', (line) => resolve(JSON.parse(line))),
  );
  await killHub(hub);
  const client = connect(adopted.port, '127.0.0.1');
  t.after(() => client.destroy());
  await new Promise((resolve) => client.once('data', resolve));
  const stopped = await fixture.hub().stop(adopted.exportId, neverAborted);
  assert.equal(stopped.outcome, 'unclean');
  assert.match(stopped.detail, /no flush/);
  await expectNothingLeft(fixture);
});

test('a hub killed while the program starts leaves an export that the next hub finds', async (t) => {
  const fixture = await exporterFixture(t);
  const request = await fixture.request();
  const gate = join(fixture.root, 'gate');
  const marker = join(fixture.root, 'waiting');
  await execa('mkfifo', [gate]);
  const program = join(fixture.root, 'slow-qemu-nbd');
  await writeFile(program, `#!/bin/sh\necho > ${marker}\nread -r _ < ${gate}\nexec qemu-nbd "$@"\n`, { mode: 0o755 });
  const hub = startHub(t, fixture, request, { program });
  await eventually('the program was started', async () => (await readdir(fixture.root)).includes('waiting'));
  await killHub(hub);

  const exporter = fixture.hub();
  const starting = exporter.start(request, neverAborted);
  {
    // For reading too, so that it does not wait for the other end.
    await using opened = await open(gate, 'r+');
    await opened.write('go\n');
  }
  const { pid } = await starting;
  // The killed hub's own command line names the export too, until the kernel is done with it.
  await eventually('one process runs', async () => (await processesNaming(request.exportId)).size === 1);
  const [[running, args] = assert.fail('nothing runs')] = await processesNaming(request.exportId);
  assert.equal(running, pid);
  assert.equal(args[0], 'qemu-nbd');
  assert.equal((await exporter.stop(request.exportId, neverAborted)).outcome, 'clean');
  await expectNothingLeft(fixture);
});

test('an export that ended while no hub ran is told of, and its end is unclean', async (t) => {
  const fixture = await exporterFixture(t);
  const dead = await orphan(t, fixture);
  process.kill(dead.pid, 'SIGKILL');
  await eventually('it is gone', async () => !(await isRunning(dead.pid)));
  const exporter = fixture.hub();
  const told: DiskExport[] = [];
  exporter.onUnexpectedExit(({ detail: _, ...ended }) => told.push(ended));
  assert.deepEqual(await exporter.list(), []);
  assert.deepEqual(await exporter.list(), []);
  assert.deepEqual(told, [dead]);
  assert.equal((await exporter.stop(dead.exportId, neverAborted)).outcome, 'unclean');
  await expectNothingLeft(fixture);
});

test('a record whose pid belongs to another program by now is not believed, and that program is left alone', async (t) => {
  const fixture = await exporterFixture(t);
  const dead = await orphan(t, fixture);
  process.kill(dead.pid, 'SIGKILL');
  const stranger = execa('sleep', ['1000'], { reject: false });
  t.after(() => stranger.kill());
  assert.ok(stranger.pid !== undefined);
  const recordPath = join(fixture.runtimeDir, `${dead.exportId}.json`);
  const record = JSON.parse(await readFile(recordPath, 'utf8'));
  await writeFile(recordPath, JSON.stringify({ ...record, process: await identify(stranger.pid) }));
  await writeFile(join(fixture.runtimeDir, `${dead.exportId}.pid`), `${stranger.pid}\n`);
  const exporter = fixture.hub();
  assert.deepEqual(await exporter.list(), []);
  assert.equal((await exporter.stop(dead.exportId, neverAborted)).outcome, 'unclean');
  assert.equal(await isRunning(stranger.pid), true);
  await expectNothingLeft(fixture);
});

test('a process with another start time than the record says is not believed', async (t) => {
  const fixture = await exporterFixture(t);
  const running = await orphan(t, fixture);
  const recordPath = join(fixture.runtimeDir, `${running.exportId}.json`);
  const record = JSON.parse(await readFile(recordPath, 'utf8'));
  await writeFile(recordPath, JSON.stringify({ ...record, process: { pid: running.pid, startTicks: '1' } }));
  assert.deepEqual(await fixture.hub().list(), []);
  assert.equal(await isRunning(running.pid), true);
});

test('a record torn by a power cut is an unclean end and does not stop a new start', async (t) => {
  const fixture = await exporterFixture(t);
  const request = await fixture.request();
  const exporter = fixture.hub();
  const recordPath = join(fixture.runtimeDir, `${request.exportId}.json`);
  await exporter.start(request, neverAborted);
  await exporter.stop(request.exportId, neverAborted);
  await writeFile(recordPath, '{"exportId":');
  assert.deepEqual(await exporter.list(), []);
  assert.equal((await exporter.stop(request.exportId, neverAborted)).outcome, 'unclean');
  await writeFile(recordPath, '');
  await exporter.start(request, neverAborted);
  assert.equal((await exporter.stop(request.exportId, neverAborted)).outcome, 'clean');
  await expectNothingLeft(fixture);
});

test('a stop that was interrupted after the flush is still clean when it is repeated by the next hub', async (t) => {
  const fixture = await exporterFixture(t);
  const running = await orphan(t, fixture);
  const recordPath = join(fixture.runtimeDir, `${running.exportId}.json`);
  const flushed = { ...JSON.parse(await readFile(recordPath, 'utf8')), flushed: true };
  process.kill(running.pid, 'SIGTERM');
  await eventually('it is gone', async () => !(await isRunning(running.pid)));
  await writeFile(recordPath, JSON.stringify(flushed));
  assert.equal((await fixture.hub().stop(running.exportId, neverAborted)).outcome, 'clean');
  await expectNothingLeft(fixture);
});
