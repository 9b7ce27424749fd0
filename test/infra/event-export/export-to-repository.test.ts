import assert from 'node:assert/strict';
import { chmod, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { EventStoreDBClient } from '@eventstore/db-client';
import { exportToRepository } from '#infra/event-export/export-to-repository.ts';
import { exportFolderOf, findGenerations } from '#infra/event-export/generations.ts';
import { chooseGeneration, filesOf, RestoreRefused, vaultOf } from '#infra/event-export/restore-plan.ts';
import { copyVault, type VaultContent } from '#infra/event-export/vault-copy.ts';
import { importEvents } from '#infra/event-transfer/import-events.ts';
import { happened, happenedTimes, startServer, tempDir } from '../embedded-event-store/support.ts';
import { comparable, historyOf } from '../event-transfer/support.ts';

let ticks = 0;
const now = (): string => new Date(1_760_000_000_000 + 1000 * ticks++).toISOString();

const exportOf = (client: EventStoreDBClient, root: string, more: object = {}) =>
  exportToRepository({ client, root, storageNode: 'node-1', vault: undefined, now, ...more });

const restore = async (client: EventStoreDBClient, root: string, wanted?: string) =>
  importEvents({ client, files: filesOf(await chooseGeneration(root, wanted)) });

const generationsIn = async (root: string): Promise<readonly string[]> =>
  (await findGenerations(root)).complete.map(({ manifest }) => manifest.generation).sort();

test('each run adds what is new, and all segments together bring the history back', async (t) => {
  const [hub, fresh] = [await startServer(t), await startServer(t)];
  const root = await tempDir(t);
  await hub.client.appendToStream('a-1', happenedTimes(3));
  const first = await exportOf(hub.client, root);
  assert.deepEqual([first.events, first.segments], [3, 1]);
  assert.deepEqual([(await exportOf(hub.client, root)).segments, (await exportOf(hub.client, root)).events], [1, 0]);
  await hub.client.appendToStream('a-1', happenedTimes(2, 3));
  await hub.client.deleteStream('a-1');
  assert.deepEqual(await exportOf(hub.client, root).then(({ events, segments }) => [events, segments]), [3, 2]);
  await hub.client.appendToStream('a-1', happened(5));
  await exportOf(hub.client, root);
  assert.deepEqual(await generationsIn(root), [first.generation]);
  await restore(fresh.client, root);
  assert.deepEqual(comparable(await historyOf(fresh.client)), comparable(await historyOf(hub.client)));
});

test('nobody else may read the folder or its files', async (t) => {
  const { client } = await startServer(t);
  const root = await tempDir(t);
  await client.appendToStream('a-1', happened(1));
  const { generation } = await exportOf(client, root);
  const folder = join(exportFolderOf(root), generation);
  assert.equal((await stat(exportFolderOf(root))).mode & 0o777, 0o700);
  for (const name of await readdir(folder)) assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
});

test('an empty hub that is pointed at the repository destroys nothing', async (t) => {
  const [lost, empty, fresh] = [await startServer(t), await startServer(t), await startServer(t)];
  const root = await tempDir(t);
  await lost.client.appendToStream('a-1', happenedTimes(3));
  const { generation } = await exportOf(lost.client, root);
  await empty.client.appendToStream('b-1', happened(1));
  const other = await exportOf(empty.client, root, { maxSegments: 1 });
  await empty.client.appendToStream('b-1', happened(2));
  const { generation: newest, warnings } = await exportOf(empty.client, root, { maxSegments: 1 });
  assert.deepEqual(await generationsIn(root), [generation, newest].sort());
  assert.notEqual(other.generation, newest);
  assert.match(warnings.join(), new RegExp(`${generation} is an export of another history`));
  await assert.rejects(restore(fresh.client, root), (error: unknown) => {
    assert.ok(error instanceof RestoreRefused);
    assert.match(error.message, /Several histories .* --generation/);
    assert.match(error.message, new RegExp(`${generation}: 3 events of the hub on node-1`));
    return true;
  });
  await restore(fresh.client, root, generation);
  assert.deepEqual(comparable(await historyOf(fresh.client)), comparable(await historyOf(lost.client)));
});

test('a restored hub exports anew, and then removes what it was restored from', async (t) => {
  const [lost, fresh] = [await startServer(t), await startServer(t)];
  const root = await tempDir(t);
  await lost.client.appendToStream('a-1', happenedTimes(3));
  await lost.client.appendToStream('$stats-here', happenedTimes(3)); // so that the positions differ afterwards
  await lost.client.appendToStream('a-2', happenedTimes(3));
  const before = await exportOf(lost.client, root);
  await restore(fresh.client, root);
  await fresh.client.appendToStream('a-1', happened(9));
  const after = await exportOf(fresh.client, root);
  assert.notEqual(after.generation, before.generation);
  assert.deepEqual([after.events, await generationsIn(root)], [7, [after.generation]]);
});

test('a hub that was restored from an older export leaves alone what it lacks', async (t) => {
  const [lost, fresh] = [await startServer(t), await startServer(t)];
  const [root, older] = [await tempDir(t), await tempDir(t)];
  await lost.client.appendToStream('a-1', happenedTimes(3));
  await exportOf(lost.client, older);
  await exportOf(lost.client, root);
  await lost.client.appendToStream('a-1', happenedTimes(3, 3));
  const { generation } = await exportOf(lost.client, root);
  await restore(fresh.client, older);
  const { generation: own } = await exportOf(fresh.client, root);
  assert.deepEqual(await generationsIn(root), [generation, own].sort());
});

test('after many segments all is written anew, once', async (t) => {
  const { client } = await startServer(t);
  const root = await tempDir(t);
  const generations: string[] = [];
  for (let n = 0; n < 5; n += 1) {
    await client.appendToStream('a-1', happened(n));
    generations.push((await exportOf(client, root, { maxSegments: 2 })).generation);
  }
  assert.equal(new Set(generations).size, 3);
  const { complete } = await findGenerations(root);
  assert.deepEqual(
    complete.map(({ manifest }) => manifest.segments.map(({ events }) => events)),
    [[5]],
  );
});

test('what a crash leaves between any two steps is made good by the next run', async (t) => {
  const [hub, fresh] = [await startServer(t), await startServer(t)];
  const root = await tempDir(t);
  await hub.client.appendToStream('a-1', happenedTimes(3));
  const { generation } = await exportOf(hub.client, root);
  const folder = join(exportFolderOf(root), generation);
  // A segment that no manifest names, half of another one, half a manifest.
  await writeFile(join(folder, '000002.events.zst'), 'not what it should be');
  await writeFile(join(folder, '000002.events.zst.partial'), 'half');
  await writeFile(join(folder, 'manifest.json.partial'), '{');
  await hub.client.appendToStream('a-1', happened(3));
  assert.equal((await exportOf(hub.client, root)).segments, 2);
  assert.deepEqual((await readdir(folder)).sort(), ['000001.events.zst', '000002.events.zst', 'manifest.json']);
  // Before the first manifest: the same folder is gone on with.
  await rm(join(folder, 'manifest.json'));
  assert.equal((await exportOf(hub.client, root)).generation, generation);
  await restore(fresh.client, root);
  assert.deepEqual(comparable(await historyOf(fresh.client)), comparable(await historyOf(hub.client)));
});

test('a lost, changed or exchanged segment is named and nothing is imported', async (t) => {
  const [hub, fresh] = [await startServer(t), await startServer(t)];
  const root = await tempDir(t);
  for (let n = 0; n < 3; n += 1) {
    await hub.client.appendToStream('a-1', happened(n));
    await exportOf(hub.client, root);
  }
  const [generation] = (await findGenerations(root)).complete;
  const path = join(generation?.folder ?? '', '000002.events.zst');
  await rm(path);
  await assert.rejects(restore(fresh.client, root), /000002\.events\.zst/);
  await writeFile(path, '');
  await assert.rejects(restore(fresh.client, root), /000002\.events\.zst is damaged/);
  const manifest = join(generation?.folder ?? '', 'manifest.json');
  const changed = { ...generation?.manifest, segments: generation?.manifest.segments.slice(1) };
  await writeFile(manifest, JSON.stringify(changed));
  await assert.rejects(restore(fresh.client, root), /The manifest .* was changed/);
  await writeFile(manifest, '{"half":');
  await assert.rejects(restore(fresh.client, root), /There is no export of a hub .* cannot be read/);
  assert.deepEqual(await historyOf(fresh.client), []);
});

const secret = { reference: 'credential-1', wrapped_key: 'd3JhcHBlZA==', ciphertext: 'c2VjcmV0', created_at: now() };

test('secrets go along encrypted with the key that is kept elsewhere, and deleted ones disappear', async (t) => {
  const { client } = await startServer(t);
  const root = await tempDir(t);
  await client.appendToStream('a-1', happened(1));
  const key = Buffer.alloc(32, 7);
  const passwords = [{ subject: 'admin', hash: '$argon2id$of-a-password', updated_at: now() }];
  const content: VaultContent = { secrets: [secret], passwords };
  await exportOf(client, root, { vault: copyVault(content, key) });
  const generation = await chooseGeneration(root, undefined);
  const vaultFiles = async () => (await readdir(generation.folder)).filter((name) => name.startsWith('vault'));
  assert.deepEqual(await vaultOf(generation, key), content);
  await assert.rejects(vaultOf(generation, Buffer.alloc(32, 8)), /cannot be read with this key/);
  const before = await vaultFiles();
  await exportOf(client, root, { vault: copyVault(content, key) });
  assert.deepEqual(await vaultFiles(), before);
  const less = { secrets: [], passwords };
  await exportOf(client, root, { vault: copyVault(less, key) });
  assert.deepEqual(await vaultOf(await chooseGeneration(root, undefined), key), less);
  assert.equal((await vaultFiles()).length, 1);
});

test('a folder that cannot be written fails the run, and the next one goes on', async (t) => {
  const { client } = await startServer(t);
  const root = await tempDir(t);
  await client.appendToStream('a-1', happened(1));
  await writeFile(join(root, '.sendense'), 'in the way');
  await assert.rejects(exportOf(client, root), /EEXIST|ENOTDIR/);
  await rm(join(root, '.sendense'));
  await chmod(root, 0o755);
  assert.equal((await exportOf(client, root)).events, 1);
});
