import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { EventStoreDBClient } from '@eventstore/db-client';
import pg from 'pg';
import { pino } from 'pino';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { describedEndpoints } from '../support/described-endpoints.ts';
import { filesBelow } from '../support/images.ts';
import { processesOf } from '../support/processes.ts';
import type { WireBackup } from '../support/wire.ts';
import { World } from '../support/world.ts';

type DryRun = Readonly<{
  dry_run: true;
  accepted: true;
  would_append: readonly Readonly<{ stream: string; type: string; data: Record<string, unknown> }>[];
  would_follow: readonly string[];
}>;

let folder = '';
let postgres: EmbeddedPostgres;
let world: World;
let full: WireBackup;
let increment: WireBackup;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dry-run-'));
  await chmod(folder, 0o711); // PostgreSQL runs as another user when the tests run as root
  const log = pino({ level: 'silent' });
  // One of the test's own, to look into all tables.
  postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), log }, new AbortController().signal);
  const { user, password, host, port, database } = postgres.connection;
  const url = `postgres://${user}:${password}@localhost/${database}?host=${encodeURIComponent(host)}&port=${port}`;
  world = await World.open({ settings: { SENDENSE_DATABASE: url, SENDENSE_RESTORE_ROOTS: folder } });
  full = await world.backUp('full');
  increment = await world.backUp('incremental');
});

after(async () => {
  await world?.close();
  await postgres?.stop();
  await rm(folder, { recursive: true, force: true });
});

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** What the audit trail itself writes, and what follows from it: a dry run is recorded, as everything is. */
const ofTrail = /^(audit_entries|checkpoints|event_index|log_marks)$/;

const tables = async (): Promise<Record<string, string>> => {
  const client = new pg.Client(postgres.connection);
  await client.connect();
  try {
    const found = await client.query<{ schema: string; name: string }>(
      `select table_schema as schema, table_name as name from information_schema.tables
       where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2`,
    );
    const rows: Record<string, string> = {};
    for (const { schema, name } of found.rows) {
      if (ofTrail.test(name)) continue;
      const all = await client.query(`select t::text from "${schema}"."${name}" t order by 1`);
      rows[`${schema}.${name}`] = JSON.stringify(all.rows);
    }
    return rows;
  } finally {
    await client.end();
  }
};

const log = async (): Promise<readonly string[]> => {
  const { connection } = JSON.parse(await readFile(join(world.hubData, 'event-store', 'event-store.json'), 'utf8'));
  const client = EventStoreDBClient.connectionString([connection] as unknown as TemplateStringsArray);
  try {
    const ids: string[] = [];
    for await (const { event } of client.readAll()) {
      if (event && !/^(audit|\$)/.test(event.streamId)) ids.push(`${event.streamId} ${event.type} ${event.id}`);
    }
    return ids;
  } finally {
    await Promise.race([client.dispose(), delay(500, undefined, { ref: false })]);
  }
};

const files = async (): Promise<Record<string, string>> => {
  const paths = [...(await filesBelow(world.hubData)), ...(await filesBelow(world.repositoryPath))];
  const kept = paths.filter((path) => !path.startsWith(join(world.hubData, 'event-store'))).sort();
  const digests = kept.map(async (path) => {
    const { mode, mtimeMs } = await stat(path);
    return [path, `${mode} ${mtimeMs} ${sha256(await readFile(path))}`] as const;
  });
  return Object.fromEntries(await Promise.all(digests));
};

const programs = async () => (await processesOf(world.folder)).map(({ pid }) => pid).sort();

const everything = async () => ({
  ...{ log: await log(), tables: await tables(), files: await files(), programs: await programs() },
  ports: (await world.call('GET', '/nbd/ports/status')).body,
});

const dry = (method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) =>
  world.call<DryRun>(method, `${path}?dry_run=true`, { ...(body === undefined ? {} : { body }), headers });

const typesOf = ({ would_append: events }: DryRun): readonly string[] => events.map(({ type }) => type);

const credential = (over: object = {}) => ({
  ...{ credential_name: 'second', vcenter_host: 'lab', username: 'lab', password: 'very-secret-password' },
  ...{ datacenter: 'lab', ...over },
});

describe('a dry run', () => {
  test('of a backup tells its events and everything that would follow', async () => {
    const { status, body } = await dry('POST', '/backups', world.request('incremental'));
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual([body.dry_run, body.accepted], [true, true]);
    assert.deepEqual(typesOf(body), ['BackupAdmitted', 'BackupStarted']);
    const [, started] = body.would_append;
    assert.equal(started?.data.parentBackupId, increment.backup_id);
    const said = body.would_follow.join('\n');
    assert.match(said, /leases 2 ports of the pool/);
    for (const disk of increment.disk_results) assert.ok(said.includes(`an overlay on ${disk.qcow2_path}`), said);
    assert.match(said, /serves disk 0.*asks the node appliance to copy the data.*the last one\.$/s);
  });

  test('of a deletion names the files that would go', async () => {
    const { body } = await dry('DELETE', `/backups/${increment.backup_id}`);
    assert.deepEqual(typesOf(body), ['RestorePointRemovalBegun', 'BackupRemovalRequested']);
    for (const { qcow2_path: path } of increment.disk_results) assert.ok(body.would_follow.join().includes(path));
  });

  test('leaves everything byte for byte as it was, whatever the command, accepted or refused', async () => {
    const { backup_id: id } = increment;
    const repository = { name: 'second', type: 'local', config: { path: join(world.folder, 'second') } };
    const allocated = { job_id: 'by-hand', export_name: 'by-hand' };
    await world.call('POST', '/nbd/ports/allocate', { body: allocated });
    const image = full.disk_results[0]?.qcow2_path;
    const serve = { export_name: 'by-hand', port: world.firstPort, qcow2_path: image, read_only: true };
    const vcenter = { credential_id: 1 };
    const restoreTo = (path: string) => ({ backup_id: id, target: { type: 'image', path, format: 'raw' } });
    const key = { 'idempotency-key': 'dry' };
    const calls: readonly (readonly [string, string, unknown, number])[] = [
      ['POST', '/backups', world.request('full'), 200],
      ['POST', '/backups', world.request('incremental', { tags: { a: 'b' } }), 200],
      ['POST', '/backups', { ...world.request('full'), vm_name: 'nobody' }, 404],
      ['POST', '/backups', world.request('full', { policy_id: 'none' }), 404],
      ['POST', `/backups/${id}/complete`, { disk_id: 0, change_id: 'another', backup_id: id }, 409],
      ['POST', '/backups/backup-none/complete', { disk_id: 0, change_id: 'x', backup_id: 'backup-none' }, 404],
      ['DELETE', `/backups/${id}`, undefined, 200],
      ['DELETE', `/backups/${full.backup_id}`, undefined, 409],
      ['POST', '/repositories', repository, 201],
      ['POST', '/repositories', { ...repository, name: 'primary' }, 409],
      ['POST', '/repositories', { ...repository, config: { path: `${world.vm.disks[0]}/x` } }, 422],
      ['DELETE', `/repositories/${world.repositoryId}`, undefined, 409],
      ['POST', '/repositories/refresh-storage', undefined, 200],
      ['POST', '/vmware-credentials', credential(), 200],
      ['POST', '/vmware-credentials', credential({ credential_name: 'lab' }), 409],
      ['PUT', '/vmware-credentials/1', { password: 'very-secret-password', credential_name: 'renamed' }, 200],
      ['PUT', '/vmware-credentials/1/set-default', undefined, 200],
      ['DELETE', '/vmware-credentials/1', undefined, 409],
      ['POST', '/discovery/discover-vms', { ...vcenter, create_context: true }, 200],
      ['POST', '/discovery/add-vms', { ...vcenter, vm_names: [world.vm.name] }, 200],
      [
        'POST',
        '/discovery/bulk-add',
        { vcenter: 'lab', username: 'lab', password: 'lab', datacenter: 'lab', selected_vms: ['x'] },
        200,
      ],
      ['POST', '/nbd/ports/allocate', { job_id: 'other', export_name: 'other', disk_count: 2 }, 200],
      ['POST', '/nbd/ports/release', allocated, 200],
      ['POST', '/nbd/qemu-nbd/start', serve, 200],
      ['POST', '/nbd/qemu-nbd/stop', { export_name: 'nothing' }, 404],
      ['POST', '/restore/disk', restoreTo(join(folder, 'restored.raw')), 200],
      ['POST', '/restore/disk', restoreTo('/etc/restored.raw'), 422],
      ['DELETE', '/restore/disk/nothing', undefined, 404],
    ];
    const patterns = describedEndpoints()
      .filter(({ dryRun }) => dryRun)
      .map(({ method, path }) => `${method} ${path.replace('/api/v1', '').replace(/:\w+/g, '[^/]+')}`);
    const asked = calls.map(([method, path]) => `${method} ${path}`);
    const missed = patterns.filter((pattern) => !asked.some((route) => new RegExp(`^${pattern}$`).test(route)));
    assert.deepEqual(missed, [], 'every endpoint that can be run dry is tried here');

    const before = await everything();
    for (const [method, path, body, expected] of calls) {
      const reply = await dry(method, path, body, key);
      // What would be made is answered with 200 as well: nothing was.
      assert.equal(reply.status, expected === 201 ? 200 : expected, `${method} ${path}: ${JSON.stringify(reply.body)}`);
      assert.doesNotMatch(JSON.stringify(reply.body), /very-secret-password/);
      if (reply.status === 200) assert.equal(reply.body.dry_run, true, path);
    }
    const after = await everything();
    assert.deepEqual(after, before);
    await world.call('POST', '/nbd/ports/release', { body: allocated });
  });

  test('refuses with the very words of the command', async () => {
    const body = { ...world.request('full'), repository_id: 'none' };
    const real = await world.call<Record<string, unknown>>('POST', '/backups', { body });
    const tried = await world.call<Record<string, unknown>>('POST', '/backups?dry_run=true', { body });
    assert.equal(tried.status, real.status);
    assert.deepEqual({ ...tried.body, timestamp: '' }, { ...real.body, timestamp: '' });
    assert.equal(tried.headers.get('x-error-code'), real.headers.get('x-error-code'));
  });

  test('does not use up an Idempotency-Key, and tells a repeat of a real command from a new one', async () => {
    const headers = { 'idempotency-key': 'once' };
    const body = { job_id: 'key', export_name: 'key' };
    assert.equal(typesOf((await dry('POST', '/nbd/ports/allocate', body, headers)).body).length, 1);
    const real = await world.call('POST', '/nbd/ports/allocate', { body, headers });
    assert.equal(real.status, 200);
    assert.deepEqual(typesOf((await dry('POST', '/nbd/ports/allocate', body, headers)).body), []);
    await world.call('POST', '/nbd/ports/release', { body: { job_id: 'key' } });
  });

  test('of what cannot be tried is refused', async () => {
    for (const [method, path] of [
      ['POST', '/vmware-credentials/1/test'],
      ['POST', '/auth/logout'],
      ['GET', '/backups'],
    ] as const) {
      const reply = await dry(method, path);
      assert.deepEqual([reply.status, reply.headers.get('x-error-code')], [400, 'dry-run-unsupported'], path);
    }
  });

  test('is in the audit trail, as a dry run', async () => {
    type Audited = Readonly<{ dry_run: boolean; outcome: string; appended: readonly unknown[] }>;
    const reply = await world.call<{ events: readonly Audited[] }>('GET', '/audit?type=DeleteBackup');
    assert.ok(reply.body.events.length >= 3);
    for (const { dry_run: wasDry, appended } of reply.body.events) assert.deepEqual([wasDry, appended], [true, []]);
  });
});
