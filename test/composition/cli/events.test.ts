import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { jsonEvent } from '@eventstore/db-client';
import { execa } from 'execa';
import { markImport } from '#infra/unfinished-import.ts';
import { happenedTimes, startServer, tempDir } from '../../infra/embedded-event-store/support.ts';
import { comparable, historyOf } from '../../infra/event-transfer/support.ts';
import { eventually } from '../../support/eventually.ts';
import { ownEnvironment, runCli } from '../../support/program.ts';

const cli = fileURLToPath(new URL('../../../src/cli.ts', import.meta.url));

/** For a command that runs until it is told to stop. */
const startCli = (args: readonly string[], env: Readonly<Record<string, string>>, cwd: string) =>
  execa(process.execPath, [cli, ...args], {
    ...{ cwd, env: { ...ownEnvironment(), ...env }, extendEnv: false, stdin: 'ignore', reject: false },
    timeout: 60_000,
  });

const silence = { SENDENSE_LOG: 'error' };

/** The settings of a hub that stands still, and of one whose store is somewhere else. */
const here = (dataDir: string) => ({ ...silence, SENDENSE_DATA_DIR: dataDir });
const at = (dataDir: string, connection: string) => ({ ...here(dataDir), SENDENSE_EVENTSTORE: connection });

const stoppedHub = async (t: TestContext): Promise<string> => {
  const dataDir = await tempDir(t);
  const { client, server } = await startServer(t, { dataDir: join(dataDir, 'event-store') });
  await client.appendToStream('backup-1', [
    jsonEvent({ type: 'BackupStarted', data: { name: 'bell \u0007' } }),
    jsonEvent({ type: 'BackupCompleted', data: {} }),
  ]);
  await client.appendToStream('other-1', happenedTimes(3));
  await client.dispose();
  await server.close();
  return dataDir;
};

test('the history of a stopped hub moves to an event store elsewhere, and a repeated import changes nothing', async (t) => {
  const dataDir = await stoppedHub(t);
  const folder = await tempDir(t);
  const exported = await runCli(['events', 'export', 'log.zst', '--json'], here(dataDir), folder);
  assert.equal(exported.exitCode, 0, exported.stderr);
  const summary = JSON.parse(exported.stdout);
  assert.deepEqual([summary.events, summary.file, summary.resumed], [5, join(folder, 'log.zst'), false]);
  const target = await startServer(t);
  const settings = at(await tempDir(t), target.connectionString);
  const imported = await runCli(['events', 'import', 'log.zst', '--json'], settings, folder);
  assert.equal(imported.exitCode, 0, imported.stderr);
  assert.deepEqual(JSON.parse(imported.stdout), { events: 5, written: 5, present: 0, gaps: 0 });
  const again = await runCli(['events', 'import', 'log.zst'], settings, folder);
  assert.match(again.stderr, /5 events: 0 written, 5 were there already/);
  const history = await historyOf(target.client);
  assert.equal(comparable(history).length, 5);
  const shown = await runCli(['events', 'show', 'backup-1'], settings, folder);
  assert.match(
    shown.stdout,
    /backup-1@0 {2}BackupStarted {2}\{"name":"bell \\u0007"\}\n.*backup-1@1 {2}BackupCompleted/,
  );
});

test('a refusal is one sentence: a file that exists, is damaged or is none, a stream without events', async (t) => {
  const { connectionString } = await startServer(t);
  const folder = await tempDir(t);
  await writeFile(join(folder, 'junk'), 'x'.repeat(100));
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [['export', 'junk'], 1, /^.*junk exists already\. Choose another file, or remove it\.$/],
    [['import', 'junk'], 1, /^.*junk is damaged: it is not an export of events\.$/],
    [['show', 'nothing-1'], 1, /^There are no events to be read in a stream nothing-1\.$/],
    [['import', '--repository', folder], 1, /^There is no export of a hub in .*\.sendense\/events\.$/],
    [['import'], 2, /^usage: /],
    [['export', 'a', '--from', 'x'], 2, /^--from takes a position of the log, a whole number$/],
    [['polish'], 2, /^there is no command "events polish"/],
  ];
  await Promise.all(
    cases.map(async ([args, exitCode, words]) => {
      const run = await runCli(['events', ...args], at(await tempDir(t), connectionString), folder);
      assert.equal(run.exitCode, exitCode, `${args.join(' ')}: ${run.stderr}`);
      assert.match(run.stderr, words);
      assert.equal(run.stdout, '');
    }),
  );
});

test('what is appended is shown as it comes, from a position on and for the streams that are asked for', async (t) => {
  const { client, connectionString } = await startServer(t);
  const folder = await tempDir(t);
  await client.appendToStream('a-1', happenedTimes(2));
  const appended = await client.appendToStream('b-1', happenedTimes(2));
  const from = String((appended.position?.commit ?? 0n) - 1n);
  const args = ['events', 'tail', '--from', from, '--prefix', 'b-', '--json'];
  const tail = startCli(args, at(folder, connectionString), folder);
  const lines: string[] = [];
  tail.stdout.on('data', (chunk: Buffer) => lines.push(...chunk.toString('utf8').trim().split('\n')));
  await eventually('the first events are shown', () => lines.length >= 2);
  await client.appendToStream('a-1', happenedTimes(1, 2));
  await client.appendToStream('b-1', happenedTimes(1, 2));
  await eventually('the new one is shown', () => lines.length >= 3);
  tail.kill('SIGINT');
  assert.equal((await tail).exitCode, 0);
  const shown = lines.map((line) => JSON.parse(line) as { stream: string; revision: string });
  assert.deepEqual(
    shown.map(({ stream, revision }) => `${stream}@${revision}`),
    ['b-1@0', 'b-1@1', 'b-1@2'],
  );
});

test('a hub does not start on half of an import', async (t) => {
  const dataDir = await tempDir(t);
  await markImport(dataDir, 'of /somewhere/log.zst');
  const run = await runCli(['hub'], { ...here(dataDir), SENDENSE_HTTP: '127.0.0.1:0' }, dataDir);
  assert.equal(run.exitCode, 2);
  assert.match(run.stderr, /An import into .* was broken off \(of \/somewhere\/log\.zst\)\. Repeat the same command/);
  assert.equal(await readFile(join(dataDir, 'hub.json'), 'utf8').catch(() => 'none'), 'none');
  await rm(join(dataDir, 'import.json'));
});
