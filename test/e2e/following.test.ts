import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { adminPassword } from '../support/hub-process.ts';
import { followJobs, type SeenChange, untilChange } from '../support/job-changes.ts';
import { processesOf } from '../support/processes.ts';
import type { WireBackup, WireError } from '../support/wire.ts';
import { World } from '../support/world.ts';

describe('starting and following backups', () => {
  let world: World;
  before(async () => {
    world = await World.open();
  });
  after(() => world.close());

  const ask = (headers: Readonly<Record<string, string>> = {}, more: object = {}) =>
    world.call<WireBackup & WireError>('POST', '/backups', { body: world.request('full', more), headers });

  test('of requests at once for one VM one starts and the others are refused with its id', async () => {
    const replies = await Promise.all([ask(), ask(), ask(), ask()]);
    const started = replies.filter(({ status }) => status === 200);
    assert.equal(started.length, 1, JSON.stringify(replies.map(({ status }) => status)));
    for (const { status, body } of replies) {
      if (status === 200) continue;
      assert.equal(status, 409);
      assert.ok(body.details.includes(started[0]?.body.backup_id ?? '?'), body.details);
    }
    await world.ended(started[0]?.body.backup_id ?? '');
    assert.equal((await world.list()).length, 1);
  });

  test('a request that is repeated with its key starts nothing twice, at once or later', async () => {
    const key = { 'idempotency-key': 'nightly-1' };
    const replies = await Promise.all([ask(key), ask(key), ask(key)]);
    const ids = new Set(replies.map(({ body }) => body.backup_id));
    assert.deepEqual([...new Set(replies.map(({ status }) => status))], [200], JSON.stringify(replies[0]?.body));
    assert.equal(ids.size, 1);
    const [id = ''] = ids;
    await world.ended(id);
    const later = await ask(key);
    assert.equal(later.status, 200);
    assert.equal(later.body.backup_id, id);
    assert.equal((await ask(key, { tags: { other: 'request' } })).status, 422);
    assert.equal((await world.list()).length, 2);
  });

  test('a lost answer and a hub that dies do not make the key start a second backup', async () => {
    const key = { 'idempotency-key': 'nightly-2' };
    const changes = await followJobs(world.hub.url);
    const lost = ask(key).catch(() => undefined);
    const { data } = await untilChange(changes, 'BackupStarted');
    await world.killHub();
    changes.close();
    await lost;
    await world.startHub();
    await world.ended(String(data.job_id));
    const { status, body } = await ask(key);
    assert.ok(status === 200 ? body.backup_id === data.job_id : status >= 500, JSON.stringify(body));
    assert.equal((await world.list()).length, 3);
  });

  test('tags are kept, and a key of a disk is ignored', async () => {
    const { body } = await ask({}, { tags: { ticket: 'OPS-1' }, disk_id: 1 });
    const backup = await world.ended(body.backup_id);
    assert.equal(backup.disks_count, 2);
    assert.deepEqual((backup as WireBackup & { tags: unknown }).tags, { ticket: 'OPS-1' });
  });

  const collect = async (headers: Readonly<Record<string, string>>, last: string): Promise<readonly SeenChange[]> => {
    const changes = await followJobs(world.hub.url, headers);
    const seen: SeenChange[] = [];
    for await (const change of changes) {
      seen.push(change);
      if (change.type === last) break;
    }
    changes.close();
    return seen;
  };

  test('changes arrive in order, and a reader that comes back misses none and gets none twice', async () => {
    const live = collect({}, 'BackupClosed');
    const { backup_id } = await world.start('full');
    const seen = await live;
    const positions = seen.map(({ id }) => BigInt(id));
    assert.deepEqual(
      positions,
      positions.toSorted((a, b) => (a < b ? -1 : 1)),
    );
    assert.equal(new Set(positions).size, positions.length);
    assert.ok(seen.every(({ data }) => data.job_id === backup_id && typeof data.time === 'string'));
    assert.ok(seen.some(({ type, data }) => type === 'ProgressReported' && data.status === 'running'));
    const trail = (await world.events(backup_id)).map(({ type }) => type);
    assert.deepEqual(
      seen.filter(({ type }) => type !== 'ProgressReported').map(({ type }) => type),
      trail,
    );
    const middle = Math.floor(seen.length / 2);
    const resumed = await collect({ 'last-event-id': seen[middle]?.id ?? '' }, 'BackupClosed');
    const kept = (changes: readonly SeenChange[]) => changes.filter(({ type }) => type !== 'ProgressReported');
    assert.deepEqual(kept(resumed), kept(seen.slice(middle + 1)));
  });

  test('telemetry is live while a job runs and a profile afterwards', async () => {
    const { backup_id } = await world.startSlowly('full');
    const history = () => world.call('GET', `/telemetry/history/${backup_id}`);
    const live = await history();
    assert.equal(live.body.data_source, 'live_snapshots');
    assert.equal(live.body.status, 'running');
    await world.brake.off();
    await world.ended(backup_id);
    const { body } = await history();
    assert.equal(body.data_source, 'rolled_up');
    const { snapshots_recorded: count } = body.performance_metrics as { snapshots_recorded: number };
    assert.ok(count >= 1);
    assert.equal((await world.call('GET', '/telemetry/history/unknown')).status, 404);
  });

  describe('with authentication on', () => {
    const login = (password: string) =>
      world.call<{ session_token: string; success: boolean }>('POST', '/auth/login', {
        body: { username: 'admin', password },
      });
    before(async () => {
      await world.stopHub();
      await world.startHub({ SENDENSE_AUTH: 'on' });
    });

    test('everything but the callbacks of clients needs a token', async () => {
      const needing = [
        ...['GET /backups', 'POST /backups', 'GET /backups/x', 'DELETE /backups/x', 'GET /backups/x/disks'],
        ...['GET /backups/chain?vm_name=x', 'GET /backups/stats?vm_name=x&repository_id=y', 'GET /nbd/ports/status'],
        ...['GET /repositories', 'POST /nbd/qemu-nbd/stop', 'GET /telemetry/history/x', 'GET /jobs/x/events'],
        ...['GET /vm-contexts', 'GET /vmware-credentials', 'GET /events/stream', 'POST /discovery/add-vms'],
      ];
      for (const line of needing) {
        const [method = '', path = ''] = line.split(' ');
        const { status } = await world.call(method, path, method === 'GET' ? {} : { body: {} });
        assert.equal(status, 401, line);
      }
    });

    test('a password gets a token, a wrong one does not, and a made-up token is none', async () => {
      assert.equal((await login('wrong horse battery')).status, 401);
      const { status, body } = await login(adminPassword);
      assert.equal(status, 200);
      const headers = { authorization: `Bearer ${body.session_token}` };
      assert.equal((await world.call('GET', '/backups', { headers })).status, 200);
      const made = { authorization: `Bearer ${body.session_token}x` };
      assert.equal((await world.call('GET', '/backups', { headers: made })).status, 401);
    });

    test('a backup runs to its end although its client has no token', async () => {
      const { body } = await login(adminPassword);
      const headers = { authorization: `Bearer ${body.session_token}` };
      const started = await world.call<WireBackup>('POST', '/backups', { body: world.request('full'), headers });
      assert.equal(started.status, 200, JSON.stringify(started.body));
      const changes = await followJobs(world.hub.url, { ...headers, 'last-event-id': '0' });
      for await (const { type, data } of changes) {
        if (type === 'BackupClosed' && data.job_id === started.body.backup_id) break;
      }
      changes.close();
      const path = `/backups/${started.body.backup_id}`;
      const { body: backup } = await world.call<WireBackup>('GET', path, { headers });
      assert.equal(backup.status, 'completed', backup.error_message ?? '');
    });

    test('the callbacks answer without a token, and with a made-up one they do not', async () => {
      const question = '/backups/changeid?vm_name=pgtest1';
      assert.equal((await world.call('GET', question)).status, 200);
      assert.equal((await world.call('POST', '/telemetry/backup/unknown', { body: {} })).status, 404);
      const complete = { body: { change_id: 'x/1' } };
      assert.equal((await world.call('POST', '/backups/unknown/complete', complete)).status, 404);
      const headers = { authorization: 'Bearer made-up' };
      assert.equal((await world.call('GET', question, { headers })).status, 401);
    });

    test('no secret is in a log, on a command line or in a reply', async () => {
      const { body } = await login(adminPassword);
      const headers = { authorization: `Bearer ${body.session_token}` };
      const { body: credentials } = await world.call('GET', '/vmware-credentials', { headers });
      const commandLines = (await processesOf(world.folder)).map(({ commandLine }) => commandLine).join('\n');
      const texts = [await world.hub.log(), await world.node.log(), commandLines, JSON.stringify(credentials)];
      for (const secret of ['lab-password', adminPassword, body.session_token])
        for (const text of texts) assert.ok(!text.includes(secret));
    });
  });
});
