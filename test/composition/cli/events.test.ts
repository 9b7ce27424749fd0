import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { execa } from 'execa';
import type { AuditEntry } from '#domain/audit/entry.ts';
import { markImport, unfinishedImport } from '#infra/unfinished-import.ts';
import { happenedTimes, startServer, tempDir } from '../../infra/embedded-event-store/support.ts';
import { comparable, historyOf } from '../../infra/event-transfer/support.ts';
import { numbered } from '../../support/audit-facts.ts';
import { eventually } from '../../support/eventually.ts';
import { ownEnvironment, runCli } from '../../support/program.ts';
import { auditOf, withStore } from '../../support/tampering.ts';

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

/** The first event of a stream, as whoever copies it would append it. */
const firstOf = (dataDir: string, stream: string) =>
  withStore(dataDir, async (client) => {
    const [first] = await Array.fromAsync(client.readStream(stream, { maxCount: 1 }));
    assert.ok(first?.event);
    const { id, type, data } = first.event;
    return jsonEvent({ id, type, data: data as Record<string, string> });
  });

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

type Moved = Awaited<ReturnType<typeof historyOf>>;

const isOfTrail = ({ stream }: Moved[number]): boolean => stream.startsWith('audit');

/** What the entries of imports tell; the trail as a whole holds. */
const importsIn = async (client: EventStoreDBClient): Promise<readonly object[]> => {
  const { audit } = auditOf(client);
  const entries: AuditEntry[] = [];
  const watch = { onDay: () => undefined, onEntry: (entry: AuditEntry) => void entries.push(entry) };
  const { difference } = await audit.verify(new AbortController().signal, [], watch);
  assert.equal(difference, null);
  const imports = entries.filter(({ action }) => action === 'ImportEvents');
  return imports.map(({ actor, source: by, outcome, facts }) => ({ actor, by, outcome, ...facts }));
};

const byOperator = { actor: 'operator:local', by: 'cli', outcome: 'accepted' };

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
  // Byte for byte what was there; behind it, and of the hub's own, the entry that it was brought here.
  const before = await withStore(dataDir, historyOf);
  const moved = await historyOf(target.client);
  assert.deepEqual(comparable(moved.slice(0, 5)), comparable(before));
  assert.ok(moved.length > 5 && moved.slice(5).every(isOfTrail));
  const entry = { ...byOperator, source: 'log.zst', events: '5', written: '5' };
  assert.deepEqual(await importsIn(target.client), [entry]);
  const again = await runCli(['events', 'import', 'log.zst'], settings, folder);
  assert.match(again.stderr, /5 events: 0 written, 5 were there already/);
  assert.deepEqual(comparable(await historyOf(target.client)), comparable(moved));
  const shown = await runCli(['events', 'show', 'backup-1'], settings, folder);
  assert.match(
    shown.stdout,
    /backup-1@0 {2}BackupStarted {2}\{"name":"bell \\u0007"\}\n.*backup-1@1 {2}BackupCompleted/,
  );
});

test('the audit trail that was moved goes on behind it, where the entry says who moved it', async (t) => {
  const dataDir = await stoppedHub(t);
  const [folder, other] = [await tempDir(t), await tempDir(t)];
  await withStore(dataDir, async (client) => {
    const { audit } = auditOf(client);
    for (let n = 1; n <= 3; n += 1) await audit.trail.record(numbered(n));
    await audit.close();
  });
  assert.equal((await runCli(['events', 'export', 'log.zst'], here(dataDir), folder)).exitCode, 0);
  // A hub's own data directory, whose store is started for the import alone.
  const imported = await runCli(['events', 'import', 'log.zst'], here(other), folder);
  assert.equal(imported.exitCode, 0, imported.stderr);
  const verified = await runCli(['audit', 'verify', '--json'], here(other), folder);
  assert.equal(verified.exitCode, 0, verified.stderr);
  assert.equal(JSON.parse(verified.stdout).entries, 4);
  // What goes on with the first history is another one than what went on here.
  await withStore(dataDir, async (client) => {
    const { audit } = auditOf(client);
    await audit.trail.record(numbered(4));
    await audit.close();
  });
  assert.equal((await runCli(['events', 'export', 'longer.zst'], here(dataDir), folder)).exitCode, 0);
  const refused = await runCli(['events', 'import', 'longer.zst'], here(other), folder);
  assert.equal(refused.exitCode, 1);
  assert.match(refused.stderr, /holds another event at audit-\S+ revision \d+ than the files.*Nothing was imported/);
});

test('an import that was broken off leaves its entry when it is complete, and only once', async (t) => {
  const dataDir = await stoppedHub(t);
  const [folder, hubData] = [await tempDir(t), await tempDir(t)];
  assert.equal((await runCli(['events', 'export', 'log.zst'], here(dataDir), folder)).exitCode, 0);
  const target = await startServer(t);
  const settings = at(hubData, target.connectionString);
  const mark = { what: 'of log.zst', entryId: randomUUID() };
  // Half of it is there, and so is the mark, as a kill in the middle leaves them.
  await target.client.appendToStream('backup-1', await firstOf(dataDir, 'backup-1'));
  await markImport(hubData, mark);
  const hub = await runCli(['hub'], { ...settings, SENDENSE_HTTP: '127.0.0.1:0' }, folder);
  assert.match(hub.stderr, /An import into .* was broken off/);
  assert.deepEqual(await importsIn(target.client), []);
  const rest = await runCli(['events', 'import', 'log.zst'], settings, folder);
  assert.match(rest.stderr, /5 events: 4 written, 1 were there already/);
  const entry = { ...byOperator, source: 'log.zst', events: '5', written: '4' };
  assert.deepEqual(await importsIn(target.client), [entry]);
  // Killed between the entry and the end of the mark.
  await markImport(hubData, mark);
  const none = await runCli(['events', 'import', 'log.zst'], settings, folder);
  assert.match(none.stderr, /5 events: 0 written, 5 were there already/);
  assert.deepEqual(await importsIn(target.client), [entry]);
  assert.equal(await unfinishedImport(hubData), undefined);
  // Killed between the last event and the entry.
  await markImport(hubData, { ...mark, entryId: randomUUID() });
  await runCli(['events', 'import', 'log.zst'], settings, folder);
  assert.deepEqual(await importsIn(target.client), [entry, { ...entry, written: '0' }]);
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
  await markImport(dataDir, { what: 'of /somewhere/log.zst' });
  const run = await runCli(['hub'], { ...here(dataDir), SENDENSE_HTTP: '127.0.0.1:0' }, dataDir);
  assert.equal(run.exitCode, 2);
  assert.match(run.stderr, /An import into .* was broken off \(of \/somewhere\/log\.zst\)\. Repeat the same command/);
  assert.equal(await readFile(join(dataDir, 'hub.json'), 'utf8').catch(() => 'none'), 'none');
  await rm(join(dataDir, 'import.json'));
});
