import assert from 'node:assert/strict';
import { copyFile, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { askUnexplained } from '../support/accounted.ts';
import { eventually } from '../support/eventually.ts';
import { changeExtents } from '../support/lab-vm.ts';
import { runCli } from '../support/program.ts';
import type { WireBackup } from '../support/wire.ts';
import { type Kept, mib, World } from '../support/world.ts';

type Audited = Readonly<{ events: readonly Readonly<{ actor: string; data: Readonly<Record<string, string>> }>[] }>;
type Chain = Readonly<{ backups: readonly Readonly<{ backup_id: string }>[] }>;

const withoutClock = (body: unknown): unknown =>
  JSON.parse(JSON.stringify(body, (name, value) => (name === 'timestamp' ? undefined : value)));

/** The drill of the manual, step by step; each test goes on where the one before it stopped. */
describe('a hub whose data directory is lost', () => {
  let world: World;
  let keyCopy: string;
  let key: string;
  const made: { backup: WireBackup; kept: Kept }[] = [];
  const answers = new Map<string, unknown>();
  const settings = { SENDENSE_EVENT_EXPORT_REPOSITORY: 'primary', SENDENSE_EVENT_EXPORT_SECONDS: '1' };
  before(async () => {
    world = await World.open({ settings });
  });
  after(() => world.close());

  const backUp = async (type: 'full' | 'incremental'): Promise<void> => {
    const kept = await world.keep();
    const backup = await world.backUp(type);
    made.push({ backup, kept });
    await world.assertIdentical(backup, kept);
  };
  const paths = (): readonly string[] => [
    '/backups',
    ...made.map(({ backup }) => `/backups/${backup.backup_id}`),
    ...made.map(({ backup }) => `/jobs/${backup.backup_id}/events`),
    `/backups/chain?vm_name=${world.vm.name}&repository_id=${world.repositoryId}`,
    '/vm-contexts',
  ];
  const cli = (...args: readonly string[]) =>
    runCli(['events', ...args], { TMPDIR: join(world.folder, 'tmp'), SENDENSE_DATA_DIR: world.hubData }, world.folder);

  test('has written its history into its repository, up to its orderly stop', async () => {
    await backUp('full');
    for (const disk of world.vm.disks)
      await changeExtents(disk, { count: 4, sizeBytes: mib, zeroHalf: true, seed: 'one' });
    await backUp('incremental');
    for (const path of paths()) answers.set(path, (await world.call('GET', path)).body);
    const health = await (await fetch(`${world.hub.url}/health`)).json();
    const { process_managers: workers } = health as { process_managers: readonly { name: string; running: boolean }[] };
    assert.ok(
      workers.some(({ name, running }) => name === 'event-export' && running),
      JSON.stringify(workers),
    );
    keyCopy = join(world.folder, 'kept.key');
    await copyFile(join(world.hubData, 'secret.key'), keyCopy);
    key = await readFile(keyCopy, 'utf8');
    await world.stopHub();
    await rm(world.hubData, { recursive: true });
  });

  test('is not restored without its key by mistake', async () => {
    const run = await cli('import', '--repository', world.repositoryPath);
    assert.equal(run.exitCode, 1);
    assert.match(run.stderr, /The export holds secrets, which need the key of the lost hub/);
  });

  test('comes back from the repository with every backup, chain and login', async () => {
    const run = await cli('import', '--repository', world.repositoryPath, '--key-file', keyCopy, '--json');
    assert.equal(run.exitCode, 0, run.stderr);
    const summary = JSON.parse(run.stdout);
    assert.ok(summary.written > 30 && summary.written === summary.events && summary.secrets === 1, run.stdout);
    assert.equal(await readFile(join(world.hubData, 'secret.key'), 'utf8'), key);
    // The trail goes on behind what was restored, as the anchors in the repository have it, and tells who restored it.
    const { exitCode, trail } = await askUnexplained(world.hubData);
    assert.deepEqual([exitCode, trail.ok], [0, true]);
    assert.ok(trail.anchors.checked > 0, JSON.stringify(trail));
    await world.startHub();
    const { body } = await world.call<Audited>('GET', '/audit?type=ImportEvents');
    const { source, events, written } = body.events[0]?.data ?? {};
    assert.deepEqual(
      [body.events.length, body.events[0]?.actor, source, events, written],
      [1, 'operator:local', world.repositoryPath, `${summary.events}`, `${summary.events}`],
    );
    for (const [path, body] of answers) {
      assert.deepEqual(withoutClock((await world.call('GET', path)).body), withoutClock(body), path);
    }
    for (const { backup, kept } of made) await world.assertIdentical(await world.show(backup.backup_id), kept);
  });

  test('goes on with the chain: the next increment is one, and a new export replaces the old', async () => {
    for (const disk of world.vm.disks)
      await changeExtents(disk, { count: 2, sizeBytes: mib, zeroHalf: true, seed: 'two' });
    await backUp('incremental');
    const last = made.at(-1)?.backup;
    assert.ok((last?.bytes_transferred ?? 0) <= 4.4 * mib, `${last?.bytes_transferred} is more than what changed`);
    const { body } = await world.call<Chain>(
      'GET',
      `/backups/chain?vm_name=${world.vm.name}&repository_id=${world.repositoryId}`,
    );
    assert.deepEqual(
      body.backups.map(({ backup_id: id }) => id),
      made.map(({ backup }) => backup.backup_id),
    );
  });

  test('is killed at any moment, and what it exported before is whole', async () => {
    const manifest = async () => {
      const { findGenerations } = await import('#infra/event-export/generations.ts');
      return (await findGenerations(world.repositoryPath)).complete;
    };
    const [newest] = await eventually('the new history is exported', async () => {
      const complete = await manifest();
      return complete.length === 1 ? complete : undefined;
    });
    const { segments } = newest?.manifest ?? { segments: [] };
    await world.killHub();
    await rm(world.hubData, { recursive: true });
    const run = await cli('import', '--repository', world.repositoryPath, '--without-secrets', '--json');
    assert.equal(run.exitCode, 0, run.stderr);
    const least = segments.reduce((sum, { events }) => sum + events, 0);
    assert.ok(JSON.parse(run.stdout).events >= least, run.stdout);
    await world.startHub();
    assert.equal((await world.list()).length, 3);
  });
});
