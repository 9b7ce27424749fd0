import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { changeExtents } from '../support/lab-vm.ts';
import type { WireBackup } from '../support/wire.ts';
import { mib, World } from '../support/world.ts';

type JobEvent = Readonly<{ type: string; position: string; time: string; event_id: string; actor: string }>;
type Answer = Readonly<{ status: number; body: unknown }>;
type Moment = Readonly<{ name: string; position: string; time: string; answers: ReadonlyMap<string, Answer> }>;
type Evidence = Readonly<{ type: string; event_id: string; stream: string; revision: number }>;
type Explanation = Readonly<{
  points: readonly Readonly<{
    topic: string;
    text: string;
    disk_id: number | null;
    duration_ms: number | null;
    evidence: readonly Evidence[];
  }>[];
}>;
type Cause = Readonly<{
  kind: string;
  id: string;
  type: string | null;
  actor: string;
  text: string;
  children: readonly Cause[];
  children_count: number;
}>;
type Causes = Readonly<{ root: Cause; path: readonly string[]; complete: boolean }>;

const nodesOf = (cause: Cause): readonly Cause[] => [cause, ...cause.children.flatMap(nodesOf)];

/** Errors tell when they happened. */
const withoutTimestamp = ({ status, body }: Answer): Answer => {
  const { timestamp: _timestamp, ...rest } = body as Readonly<Record<string, unknown>>;
  return { status, body: rest };
};

describe('the past of a VM that was backed up, and whose backup was deleted', () => {
  let world: World;
  let contextId = '';
  const moments: Moment[] = [];
  const ids: string[] = [];

  before(async () => {
    world = await World.open();
  });
  after(() => world.close());

  const routes = (): readonly string[] => [
    '/backups',
    '/backups?vm_name=pgtest1&status=completed',
    `/backups?vm_context_id=${contextId}`,
    '/backups/chain?vm_name=pgtest1&disk_id=1',
    `/backups/chain?vm_context_id=${contextId}`,
    '/backups/pgtest1/chain',
    `/backups/stats?vm_name=pgtest1&repository_id=${world.repositoryId}`,
    '/vm-contexts',
    '/vm-contexts/pgtest1',
    `/vm-contexts/by-id/${contextId}`,
    `/vm-contexts/${contextId}/recent-jobs`,
    ...ids.flatMap((id) => [`/backups/${id}`, `/backups/${id}/disks`]),
  ];
  const ask = async (route: string, asOf?: string) => {
    const query = asOf === undefined ? '' : `${route.includes('?') ? '&' : '?'}as_of=${encodeURIComponent(asOf)}`;
    return eventually(`an answer to ${route}${query}`, async () => {
      const reply = await world.call('GET', `${route}${query}`);
      return reply.status === 503 ? undefined : reply;
    });
  };
  const shown = async (id: string) => (await world.call('GET', `/backups/${id}`)).body;
  const head = async (): Promise<string> =>
    (await ask('/vm-contexts', '2100-01-01T00:00:00Z')).headers.get('x-as-of-position') ?? '';

  /** What the API answers now, with nothing going on meanwhile, and where the log is. */
  const note = (name: string): Promise<Moment> =>
    eventually(`a quiet moment ${name}`, async () => {
      const position = await head();
      const answers = new Map<string, Answer>();
      for (const route of routes()) answers.set(route, withoutTimestamp(await ask(route)));
      const time = new Date().toISOString();
      if ((await head()) !== position) return undefined;
      // What comes next is of another millisecond.
      await eventually('time passes', () => new Date().toISOString() > time);
      return { name, position, time, answers };
    });

  const assertAsThen = async (noted: readonly Moment[], by: 'position' | 'time'): Promise<void> => {
    for (const moment of noted) {
      const { name, position, answers } = moment;
      const asOf = moment[by];
      for (const [route, then] of answers) {
        const reply = await ask(route, asOf);
        assert.deepEqual(withoutTimestamp(reply), then, `${route} as of ${name} (${asOf})`);
        if (reply.status !== 200) continue;
        // A time leads to the last event that is no report and not the store's own.
        const used = BigInt(reply.headers.get('x-as-of-position') ?? '-1');
        const wanted = BigInt(position);
        assert.ok(by === 'position' ? used === wanted : used > 0n && used <= wanted, `${route}: ${used}`);
      }
    }
  };

  test('is answered as it was then, at every moment that was noted', async () => {
    const listed = await world.call<{ vm_contexts: readonly { context_id: string }[] }>('GET', '/vm-contexts');
    contextId = listed.body.vm_contexts[0]?.context_id ?? '';
    moments.push(await note('before the first backup'));
    ids.push((await world.backUp('full')).backup_id);
    moments.push(await note('with a full backup'));
    for (const disk of world.vm.disks)
      await changeExtents(disk, { count: 8, sizeBytes: mib, zeroHalf: false, seed: 'one' });
    const { backup_id: increment } = await world.startSlowly('incremental');
    ids.push(increment);
    await eventually('a report of data has come', async () => Number((await shown(increment)).bytes_transferred) > 0);
    // The brake alone slows it down: its end would truncate the reports that are asked for.
    const copying = await world.pidsOf('nbdcopy');
    assert.notEqual(copying.length, 0);
    for (const pid of copying) world.freeze(pid);
    const running = await note('in the middle of an increment');
    await assertAsThen([running], 'position');
    await assertAsThen([running], 'time');
    await world.brake.off();
    for (const pid of copying) world.thaw(pid);
    await world.ended(increment);
    moments.push(await note('with an increment'));
    assert.equal((await world.call('DELETE', `/backups/${increment}`)).status, 200);
    moments.push(await note('after the increment was deleted'));
    await assertAsThen(moments, 'position');
  });

  test('is the same after a restart, from the log alone', async () => {
    await world.stopHub();
    await world.startHub();
    await assertAsThen(moments, 'time');
  });

  test('follows a deleted backup through each of its events', async () => {
    const [, deleted = ''] = ids;
    const { events } = (await world.call<{ events: readonly JobEvent[] }>('GET', `/jobs/${deleted}/events?limit=1000`))
      .body;
    const first = events[0];
    assert.ok(first);
    assert.equal((await ask(`/backups/${deleted}`, String(BigInt(first.position) - 1n))).status, 404);
    let status = 'running';
    for (const { type, position } of events) {
      const reply = await ask(`/backups/${deleted}`, position);
      if (type === 'BackupCompleted') status = 'completed';
      if (type === 'BackupRemoved') assert.equal(reply.status, 404);
      else assert.equal((reply.body as unknown as WireBackup).status, status, `${type} at ${position}`);
    }
    const started = await ask('/backups', first.position);
    const listed = started.body as unknown as { backups: readonly WireBackup[] };
    assert.deepEqual(
      listed.backups.map((each) => [each.backup_id, each.status]),
      [
        [deleted, 'running'],
        [ids[0], 'completed'],
      ],
    );
  });

  test('tells of repositories what was recorded, not what is measured now', async () => {
    const [begin, , , end] = moments;
    const then = await ask(`/repositories/${world.repositoryId}/storage`, begin?.position);
    assert.equal(then.status, 200);
    assert.equal(then.body.backup_count, 0);
    const now = await ask('/repositories', end?.position);
    const [repository] = now.body.repositories as { id: string; storage_info: { backup_count: number } }[];
    assert.equal(repository?.id, world.repositoryId);
    assert.equal(repository?.storage_info.backup_count, 1);
    assert.deepEqual((await ask('/repositories', '1990-01-01')).body.repositories, []);
  });

  test('before everything there was nothing, and what is no moment is refused', async () => {
    assert.deepEqual((await ask('/backups', '2001-01-01T00:00:00Z')).body, { backups: [], total: 0 });
    assert.equal((await ask(`/backups/${ids[0]}`, '0')).status, 404);
    for (const wrong of ['yesterday', '2026-01-01T00:00:00', '-1', '2026-13-01T00:00:00Z']) {
      const { status, body } = await ask('/backups', wrong);
      assert.equal(status, 400, wrong);
      assert.match(String(body.error), /as_of.* must be a time/);
    }
  });

  const explain = async (id: string) => (await world.call<Explanation>('GET', `/backups/${id}/explain`)).body.points;

  test('the increment is explained, and each point is proved by events that exist', async () => {
    const points = await explain(ids[1] ?? '');
    const texts = points.map(({ text }) => text).join('\n');
    assert.match(texts, /An incremental backup was asked for by .*, and that is what was made/);
    for (const index of [0, 1]) assert.match(texts, new RegExp(`Disk ${index} is based on its image in ${ids[0]}`));
    assert.match(texts, /copy what changed since/);
    assert.match(texts, /It completed after .*all disks had arrived/);
    assert.match(texts, /Deleted the backup and its files\. By process:backup-runner/);
    const waits = points.filter(({ topic }) => topic === 'wait');
    for (const what of [/node appliance to take/, /NBD ports/, /image of disk 1/, /export of disk 0/, /data of disk 1/])
      assert.ok(
        waits.some(({ text }) => what.test(text)),
        `${what} in ${texts}`,
      );
    assert.ok(
      waits.every(({ duration_ms: ms }) => ms !== null && ms >= 0),
      JSON.stringify(waits),
    );
    for (const { evidence, text } of points) {
      assert.ok(evidence.length > 0, text);
      for (const { event_id: id, type } of evidence) {
        if (type === 'ProgressReported') continue;
        const { body } = await world.call<Causes>('GET', `/events/${id}/causes?depth=0`);
        assert.equal(nodesOf(body.root).find((node) => node.id === id)?.type, type, text);
      }
    }
  });

  test('one request leads to everything that its backup was, down to its end', async () => {
    const events = (await world.events(ids[0] ?? '')) as unknown as readonly JobEvent[];
    const completed = events.find(({ type }) => type === 'BackupCompleted');
    const up = (await world.call<Causes>('GET', `/events/${completed?.event_id}/causes`)).body;
    assert.equal(up.root.kind, 'request');
    assert.equal(up.path[0], up.root.id);
    assert.equal(up.path.at(-1), completed?.event_id);
    const whole = (await world.call<Causes>('GET', `/events/${up.root.id}/causes`)).body;
    assert.equal(whole.complete, true);
    const inTree = new Set(nodesOf(whole.root).map(({ id }) => id));
    for (const { event_id: id, type } of events) assert.ok(inTree.has(id), `${type} hangs on the request`);
    const types = nodesOf(whole.root).map(({ type }) => type);
    for (const type of ['BackupAdmitted', 'NbdPortsAllocated', 'RestorePointAdded', 'NbdPortsReleased'])
      assert.ok(types.includes(type), type);
    assert.ok(nodesOf(whole.root).every(({ text }) => /^\S.*\.$/.test(text)));
    assert.equal((await world.call('GET', '/events/nothing/causes')).status, 404);
  });

  test('a tree that is too large is cut and goes on where it says', async () => {
    const [started] = (await world.events(ids[0] ?? '')) as unknown as readonly JobEvent[];
    const all = (await world.call<Causes>('GET', `/events/${started?.event_id}/causes?depth=1`)).body;
    const childrenOf = ({ root }: Causes) =>
      nodesOf(root).find(({ id }) => id === started?.event_id) as Cause & { next: string | null };
    const expected = childrenOf(all).children.map(({ id }) => id);
    assert.ok(expected.length > 3);
    const found: string[] = [];
    for (let next: string | null = '0'; next !== null; ) {
      const path: string = `/events/${started?.event_id}/causes?depth=1&limit=2&after=${next}`;
      const page = childrenOf((await world.call<Causes>('GET', path)).body);
      found.push(...page.children.map(({ id }) => id));
      next = page.next;
    }
    assert.deepEqual(found, expected);
  });

  test('two moments of a job are compared, with the events in between', async () => {
    const [full = ''] = ids;
    const events = (await world.events(full)) as unknown as readonly JobEvent[];
    const at = events.findIndex(({ type }) => type === 'BackupCompleted');
    const path = `/jobs/${full}/diff?from=revision:${at - 1}&to=${events[at]?.position}`;
    const { body } = await world.call('GET', path);
    assert.deepEqual(body.changes, [{ disk_id: null, field: 'status', before: 'running', after: 'completed' }]);
    assert.deepEqual(
      (body.events as readonly JobEvent[]).map(({ type }) => type),
      ['BackupCompleted'],
    );
    const whole = (await world.call<{ changes: readonly { field: string }[] }>('GET', `/jobs/${full}/diff`)).body;
    assert.ok(whole.changes.some(({ field }) => field === 'change_id'));
    assert.equal((await world.call('GET', `/jobs/${full}/diff?from=revision:5&to=revision:2`)).status, 400);
    assert.equal((await world.call('GET', `/jobs/${full}/diff?from=soon`)).status, 400);
    assert.equal((await world.call('GET', '/jobs/none/diff')).status, 404);
  });
});
