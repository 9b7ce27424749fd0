import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { hubSettings } from '../support/hub-process.ts';
import { runCli } from '../support/program.ts';
import type { WireBackup } from '../support/wire.ts';
import { type Kept, World } from '../support/world.ts';

describe('starting and stopping', () => {
  let world: World;
  let kept: Kept;
  let earlier: WireBackup;
  before(async () => {
    world = await World.open();
    kept = await world.keep();
    earlier = await world.backUp('full');
  });
  after(() => world.close());

  test('a second hub on the same data directory is refused by name and pid, and the first does not notice', async () => {
    const where = { folder: world.folder, dataDir: world.hubData, snaUrl: world.toNode.url };
    const { exitCode, stderr } = await runCli(['hub'], hubSettings({ ...where, settings: {} }), world.folder);
    assert.equal(exitCode, 2);
    assert.equal(stderr, `The data directory ${world.hubData} is in use by sendense hub with pid ${world.hub.pid}.`);
    await world.assertIdentical(await world.backUp('incremental'), kept);
  });

  test('a second node on the same data directory is refused by pid', async () => {
    const args = ['node', '--source', 'disk-image', '--root', world.vms, '--http', '127.0.0.1:0'];
    const { exitCode, stderr } = await runCli([...args, '--data-dir', join(world.folder, 'node')], {}, world.folder);
    assert.notEqual(exitCode, 0);
    assert.match(stderr, new RegExp(`\\b${world.node.pid}\\b`));
  });

  test('SIGTERM in the middle of a transfer: the hub stops in order and the next one goes on', async (t) => {
    const { backup_id } = await world.startSlowly('full');
    const stoppedAtMs = performance.now();
    await world.stopHub();
    t.diagnostic(`stopped within ${Math.round(performance.now() - stoppedAtMs)} ms`);
    const names = await readdir(world.hubData);
    assert.ok(!names.includes('hub.json') && !names.includes('lock.json'), names.join());
    const { readyAfterMs } = await world.startHub();
    t.diagnostic(`ready again after ${Math.round(readyAfterMs)} ms`);
    await world.brake.off();
    const backup = await world.ended(backup_id);
    assert.equal(backup.status, 'completed', backup.error_message ?? '');
    await world.assertIdentical(backup, kept);
    await world.assertIdentical(earlier, kept);
    await world.assertTidy();
  });

  test('SIGTERM for the node in the middle of a transfer: the job fails with that reason', async () => {
    const { backup_id } = await world.startSlowly('full');
    await world.stopNode();
    const backup = await world.ended(backup_id);
    assert.equal(backup.status, 'failed');
    assert.match(backup.error_message ?? '', /node is stopping/);
    await world.brake.off();
    await world.assertTidy();
    await world.startNode();
    await world.assertIdentical(await world.backUp('full'), kept);
  });
});

describe('a wrong setting', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'e2e-settings-'));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const refusal = async (settings: Readonly<Record<string, string>>): Promise<string> => {
    const env = { SENDENSE_DATA_DIR: join(folder, 'data'), SENDENSE_HTTP: '127.0.0.1:0', ...settings };
    const { exitCode, stderr, stdout } = await runCli(['hub'], env, folder);
    assert.equal(exitCode, 2, stderr);
    assert.equal(stdout, '');
    assert.deepEqual(await readdir(folder), [], 'nothing is made');
    return stderr;
  };

  const wrong: readonly (readonly [Readonly<Record<string, string>>, RegExp])[] = [
    [{ SENDENSE_HTTP: 'everywhere' }, /^SENDENSE_HTTP must be HOST:PORT [^\n]*\.$/],
    [{ SENDENSE_NBD_PORTS: '10200-10100' }, /^SENDENSE_NBD_PORTS must be a range of ports [^\n]*\.$/],
    [{ SENDENSE_STALL_SECONDS: 'soon' }, /^SENDENSE_STALL_SECONDS must be a whole number of seconds [^\n]*\.$/],
    [{ SENDENSE_EVENTSTORE: 'http://host' }, /^SENDENSE_EVENTSTORE must be a connection string [^\n]*\.$/],
    [{ SENDENSE_DATABASE: 'mysql://host/db' }, /^SENDENSE_DATABASE must be a URL [^\n]*\.$/],
    [{ SENDENSE_SNA_URL: 'node' }, /^SENDENSE_SNA_URL must be a URL [^\n]*\.$/],
    [{ SENDENSE_ADMIN_PASSWORD: 'short' }, /^SENDENSE_ADMIN_PASSWORD must have at least 8 characters\.$/],
    [{ SENDENSE_AUTH: 'off', SENDENSE_HTTP: '0.0.0.0:0' }, /^SENDENSE_AUTH must be on unless [^\n]*\.$/],
    [{ SENDENSE_LOG: 'loud' }, /^SENDENSE_LOG must be one of [^\n]*\.$/],
  ];
  for (const [settings, sentence] of wrong) {
    const [name] = Object.keys(settings);
    test(`${name}=${Object.values(settings)[0]}: one sentence that names it, exit code 2`, async () => {
      assert.match(await refusal(settings), sentence);
    });
  }

  test('several wrong settings are told at once', async () => {
    const text = await refusal({ SENDENSE_HTTP: 'x', SENDENSE_LOG: 'loud' });
    assert.deepEqual(
      text.split('\n').map((line) => line.split(' ')[0]),
      ['SENDENSE_HTTP', 'SENDENSE_LOG'],
    );
  });
});
