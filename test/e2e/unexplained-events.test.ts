import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { connectEventStore } from '#infra/event-store/connect.ts';
import { askUnexplained, assertAccountedFor } from '../support/accounted.ts';
import { eventually } from '../support/eventually.ts';
import { adminPassword } from '../support/hub-process.ts';
import { clearMounts, mountsOf } from '../support/mounts.ts';
import { makeFilesystem, mountForWriting } from '../support/partitioned-disk.ts';
import { mib, World } from '../support/world.ts';

const diskBytes = 64 * mib;

describe('the history of a hub', () => {
  let world: World;
  before(async () => {
    const settings = { SENDENSE_EVENTSTORE_SCAVENGE_SECONDS: '1' };
    world = await World.open({ disks: [{ sizeBytes: diskBytes, dataBytes: mib }], settings });
    const disk = world.vm.disks[0] as string;
    await makeFilesystem(disk, { offset: 0, size: diskBytes }, 'ext4', 'whole');
    const inUse = await mountForWriting(disk, { offset: 0, size: diskBytes }, 'ext4');
    await writeFile(join(inUse.folder, 'file'), 'content');
    await inUse.unmount();
  });
  after(async () => {
    if (!world) return;
    await clearMounts(world);
    await world.close();
  });

  const ok = async (method: string, path: string, body?: object): Promise<Record<string, unknown>> => {
    const reply = await world.call(method, path, body === undefined ? {} : { body });
    assert.ok(reply.status < 300, `${method} ${path}: ${JSON.stringify(reply.body)}`);
    return reply.body;
  };

  const withClient = async <T>(work: (client: EventStoreDBClient) => Promise<T>): Promise<T> => {
    const address = await readFile(join(world.hubData, 'event-store', 'event-store.json'), 'utf8');
    const client = connectEventStore((JSON.parse(address) as { connection: string }).connection);
    try {
      return await work(client);
    } finally {
      await client.dispose();
    }
  };

  /** What ended jobs had reported is let go, by a store that does so as often as the setting says. */
  const telemetryIsScavenged = (): Promise<boolean> =>
    withClient(async (client) => {
      const log = await Array.fromAsync(client.readAll());
      return !log.some(({ event }) => event?.streamId.startsWith('telemetry-'));
    });

  const useFiles = async (backupId: string): Promise<void> => {
    const { mount, unmount } = mountsOf(world);
    const { mount_id: id } = await mount(backupId);
    await ok('GET', `/restore/${id}/files?path=/`);
    const file = await fetch(`${world.hub.url}/api/v1/restore/${id}/download?path=/file`);
    assert.equal(await file.text(), 'content');
    await unmount(id);
    // Mounts and unmounts while it answers, after the entry of the request.
    await ok('GET', `/backups/files/versions?vm_name=${world.vm.name}&disk_index=0&path=/file`);
  };

  const failOnTheWay = async (): Promise<void> => {
    await world.brake.on();
    const { backup_id: id } = await world.start('incremental');
    await world.killNode();
    await world.brake.off();
    await ok('POST', `/telemetry/backup/${id}`, { status: 'failed', error: { message: 'the client gave up' } });
    assert.equal((await world.ended(id)).status, 'failed');
    await world.startNode();
  };

  test('is accounted for from its first event to its last: backups, mounts, restores, logins, what failed, what is gone', async () => {
    const full = await world.backUp('full');
    const increment = await world.backUp('incremental');
    await useFiles(full.backup_id);
    await failOnTheWay();
    await ok('POST', '/repositories/refresh-storage');
    await ok('POST', '/auth/login', { username: 'admin', password: adminPassword });
    await ok('DELETE', `/backups/${increment.backup_id}`);
    await eventually('the telemetry of what has ended is scavenged', telemetryIsScavenged);
    await eventually('a hub at work has told its trail everything', async () => {
      const { findings, pending, ok: clean } = await askUnexplained(world.hubData);
      assert.deepEqual(findings, []);
      return clean && pending === 0;
    });
    // The next hub looks at everything that is open, without an event that asks for it.
    const mounted = await mountsOf(world).mount(full.backup_id);
    await world.killHub();
    await world.startHub();
    await mountsOf(world).unmount(mounted.mount_id);
    await world.stopHub();
    await assertAccountedFor(world.hubData);
    await world.startHub();
  });

  test('tells what a bare client appended beside a hub at work, and goes on telling it', async () => {
    const by = { by: 'user:admin', v: 1 };
    await withClient(async (client) => {
      // Whoever knows a token opens a session for it, and is the administrator.
      const data = { subject: 'user:admin', expiresAt: '2036-11-22T02:16:05.000Z', at: '2026-11-22T02:16:05.000Z' };
      await client.appendToStream('session-0a1b', jsonEvent({ type: 'SessionOpened', data, metadata: by }));
      // What looks like a request's may have its entry under way.
      const metadata = { ...by, $causationId: 'request-1' };
      await client.appendToStream('session-0a1c', jsonEvent({ type: 'SessionOpened', data, metadata }));
    });
    const atWork = await askUnexplained(world.hubData);
    assert.deepEqual([atWork.exitCode, atWork.pending], [1, 1]);
    assert.deepEqual(
      atWork.findings.map(({ stream }) => stream),
      ['session-0a1b'],
    );
    await world.stopHub();
    const stopped = await askUnexplained(world.hubData);
    assert.deepEqual([stopped.exitCode, stopped.pending], [1, 0]);
    assert.deepEqual(
      stopped.findings.map(({ stream }) => stream),
      ['session-0a1b', 'session-0a1c'],
    );
  });
});
