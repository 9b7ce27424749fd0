import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { AuditVerification } from '#commands/verify-audit.ts';
import { eventually } from '../support/eventually.ts';
import { adminPassword, type Call, callTo, hubSettings, startHub } from '../support/hub-process.ts';
import { type Program, runCli } from '../support/program.ts';

type Audited = Readonly<{
  n: number;
  actor: string;
  source: string;
  event_type: string;
  entity_id: string | null;
  outcome: string;
  code: string | null;
  dry_run: boolean;
  data: Record<string, string>;
  appended: readonly Readonly<{ stream: string; types: readonly string[]; ids: readonly string[]; position: string }>[];
}>;

type Page = Readonly<{ events: readonly Audited[]; count: number; total: number; next_cursor: string | null }>;

let folder = '';
let hub: Program;
let session: Readonly<Record<string, string>>;

const options = () => ({
  ...{ folder, dataDir: join(folder, 'hub'), snaUrl: 'http://127.0.0.1:1' },
  settings: { SENDENSE_AUTH: 'on', SENDENSE_NODE_NAME: 'storage-1' },
});

const call: Call = (method, path, more = {}) =>
  callTo(() => hub.url)(method, path, { ...more, headers: { ...session, ...more.headers } });

const audit = async (query: string): Promise<Page> => {
  const reply = await call<Page>('GET', `/audit${query}`);
  assert.equal(reply.status, 200, JSON.stringify(reply.body));
  return reply.body;
};

const exported = async (query: string, headers: Readonly<Record<string, string>> = {}) => {
  const response = await fetch(`${hub.url}/api/v1/audit${query}`, { headers: { ...session, ...headers } });
  assert.equal(response.status, 200);
  return { type: response.headers.get('content-type'), text: await response.text() };
};

const verifyByCli = async (...args: readonly string[]) => {
  const { exitCode, stdout, stderr } = await runCli(
    ['audit', 'verify', '--json', ...args],
    hubSettings(options()),
    folder,
  );
  return { exitCode, stderr, verification: JSON.parse(stdout || 'null') as AuditVerification };
};

const repository = (name: string) => ({ name, type: 'local', config: { path: join(folder, 'repositories', name) } });

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'e2e-audit-'));
  await chmod(folder, 0o711);
  await mkdir(join(folder, 'tmp'), { mode: 0o1777 });
  await mkdir(join(folder, 'repositories'));
  hub = await startHub(options());
  session = {};
  const login = { username: 'admin', password: adminPassword };
  await call('POST', '/auth/login', { body: { ...login, password: 'not the password' } });
  const { body } = await call<{ session_token: string }>('POST', '/auth/login', { body: login });
  await call('POST', '/repositories', { body: repository('stranger') });
  session = { authorization: `Bearer ${body.session_token}` };
});

after(async () => {
  await hub?.kill();
  await eventually('the stores end with their hub', () =>
    rm(folder, { recursive: true, force: true }).then(() => true),
  );
});

describe('the audit trail of a hub', () => {
  test('tells who did what, and what came of it, in order and without gaps', async () => {
    assert.equal((await call('POST', '/repositories', { body: repository('primary') })).status, 201);
    assert.equal((await call('POST', '/repositories', { body: repository('primary') })).status, 409);
    assert.equal((await call('POST', '/backups', { body: { vm_name: 'pgtest1' } })).status, 400);
    assert.equal((await call('POST', '/repositories?dry_run=true', { body: repository('tried') })).status, 200);
    const { events, total } = await audit('?limit=100');
    assert.deepEqual(
      events
        .toReversed()
        .map(({ actor, event_type, outcome, code, dry_run }) => [actor, event_type, outcome, code, dry_run]),
      [
        ['user:admin', 'Login', 'refused', 'unauthorized', false],
        ['user:admin', 'Login', 'accepted', null, false],
        ['anonymous', 'AddRepository', 'refused', 'unauthorized', false],
        ['user:admin', 'AddRepository', 'accepted', null, false],
        ['user:admin', 'AddRepository', 'refused', 'name-taken', false],
        ['user:admin', 'StartBackup', 'refused', 'invalid-request', false],
        ['user:admin', 'AddRepository', 'accepted', null, true],
      ],
    );
    assert.deepEqual(
      events.map(({ n }) => n),
      [7, 6, 5, 4, 3, 2, 1],
    );
    assert.equal(total, 7);
    const added = events.find(({ n }) => n === 4);
    const last = added?.appended.at(-1);
    assert.deepEqual([last?.stream, last?.types], [`repository-${added?.entity_id}`, ['RepositoryAdded']]);
    assert.equal(last?.ids.length, 1);
  });

  test('is found by time, actor, command, object and outcome', async () => {
    const count = async (query: string) => (await audit(query)).total;
    assert.equal(await count('?actor=anonymous'), 1);
    assert.equal(await count('?type=AddRepository&outcome=refused'), 2);
    assert.equal(await count('?object=pgtest1'), 1, 'a VM’s name is enough');
    assert.equal(await count('?object_type=session'), 2);
    assert.equal(await count('?entity_type=repository&entity_id=primary&event_type=AddRepository'), 2);
    assert.equal(await count(`?from=${new Date(Date.now() + 60_000).toISOString()}`), 0);
    assert.equal(await count(`?since=2020-01-01&until=${new Date(Date.now() + 60_000).toISOString()}`), 7);
    for (const wrong of ['from=soon', 'cursor=x', 'limit=-1', 'outcome=maybe', 'format=xml', 'cursor=bjM&offset=2'])
      assert.equal((await call('GET', `/audit?${wrong}`)).status, 400, wrong);
  });

  test('is read page by page while it grows, each entry once', async () => {
    const seen: number[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: Page = await audit(`?limit=3&cursor=${cursor}`);
      seen.push(...page.events.map(({ n }) => n));
      cursor = page.next_cursor;
      await call('POST', '/repositories', { body: repository('primary') });
    }
    assert.deepEqual(seen, [7, 6, 5, 4, 3, 2, 1]);
  });

  test('is exported as CSV and NDJSON, whole, and harmless to a spreadsheet', async () => {
    const formula = '=cmd|calc';
    const body = { vm_name: formula, repository_id: 'a"b', backup_type: 'full' };
    assert.equal((await call('POST', '/backups?dry_run=true', { body })).status, 404);
    const lines = (await exported('?format=ndjson&limit=1')).text.trimEnd().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as Audited);
    assert.deepEqual(
      entries.map(({ n }) => n),
      Array.from({ length: entries.length }, (_, index) => entries.length - index),
    );
    assert.equal(entries[0]?.data.vm_name, formula);
    assert.deepEqual((await exported('', { accept: 'application/x-ndjson' })).type, 'application/x-ndjson');
    const csv = await exported('?actor=anonymous', { accept: 'text/csv' });
    assert.equal(csv.type, 'text/csv');
    const [header, row, end] = csv.text.split('\r\n');
    assert.match(header ?? '', /^n,ts,actor,source,event_type,/);
    assert.match(row ?? '', /^"3","[^"]+","anonymous","http","AddRepository","repository","","refused","false","401",/);
    assert.equal(end, '');
    const cells = (await exported('?format=csv')).text.split(/,|\r\n/);
    assert.ok(
      cells.every((cell) => !/^"?[=+@-]/.test(cell)),
      'no cell begins like a formula',
    );
  });

  test('holds no secret', async () => {
    const credential = { credential_name: 'lab', vcenter_host: 'lab', username: 'lab', datacenter: 'lab' };
    const body = { ...credential, password: 'a vCenter password' };
    assert.equal((await call('POST', '/vmware-credentials', { body })).status, 200);
    await call('PUT', '/vmware-credentials/1', { body: { password: 'another password' } });
    const { text } = await exported('?format=ndjson');
    assert.match(text, /CreateCredential/);
    assert.doesNotMatch(text, /a vCenter password|another password|not the password|sess_|Bearer/);
    assert.ok(!text.includes(adminPassword));
  });

  test('is proved by the running hub, asked by API and by command line', async () => {
    const { body } = await call<AuditVerification>('POST', '/audit/verify');
    assert.deepEqual([body.ok, body.difference], [true, null]);
    const { exitCode, verification } = await verifyByCli();
    assert.deepEqual([exitCode, verification.ok, verification.entries], [0, true, body.entries + 1]);
    const [newest] = (await audit('?limit=1')).events;
    assert.deepEqual([newest?.event_type, newest?.actor, newest?.source], ['VerifyAudit', 'operator:local', 'cli']);
  });

  test('goes on over a restart, with an anchor in the repository', async () => {
    const before = (await audit('?limit=1')).total;
    assert.equal((await hub.stop()).exitCode, 0);
    const path = join(folder, 'repositories', 'primary', '.sendense', 'audit-anchors.ndjson');
    const anchors = (await readFile(path, 'utf8')).trimEnd().split('\n');
    assert.equal((JSON.parse(anchors.at(-1) ?? '') as { count: number }).count, before);
    const stopped = await verifyByCli();
    assert.deepEqual([stopped.exitCode, stopped.verification.anchors.checked], [0, anchors.length], stopped.stderr);
    hub = await startHub(options());
    await call('POST', '/repositories', { body: repository('primary') });
    assert.equal((await audit('?limit=1')).events[0]?.n, before + 1);
    assert.equal((await call<AuditVerification>('POST', '/audit/verify')).body.ok, true);
  });

  test('survives kill -9: whatever was answered is in it', async () => {
    const answered = await Promise.all(
      Array.from({ length: 20 }, (_, n) => call('POST', '/backups', { body: { vm_name: `vm-${n}` } })),
    );
    assert.ok(answered.every(({ status }) => status === 400));
    await hub.kill();
    hub = await startHub(options());
    const { total } = await audit('?type=StartBackup&outcome=refused&limit=1');
    assert.ok(total >= 20, `${total}`);
    const { body } = await call<AuditVerification>('POST', '/audit/verify');
    assert.deepEqual([body.ok, body.anchors.files], [true, 1]);
  });
});
