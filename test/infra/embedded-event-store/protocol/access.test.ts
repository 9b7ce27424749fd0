import assert from 'node:assert/strict';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { EventStoreDBClient, jsonEvent, type StreamACL } from '@eventstore/db-client';
import { eventually } from '../../../support/eventually.ts';
import { dbClient } from './db-client.ts';
import { Followed } from './followed.ts';
import { collect, newStream, openLane, outcomeOf } from './lane.ts';
import { ada, admin, bob, type Credentials, ops } from './store-process.ts';

const lane = await openLane('secure', dbClient);
const { client: asAdmin } = lane;
const asAda = lane.connect(ada);
const asBob = lane.connect(bob);
const asOps = lane.connect(ops);
const asNobody = lane.connect('anonymous');
const everyone = { admin: asAdmin, ada: asAda, bob: asBob, ops: asOps, anonymous: asNobody };

type Attempt = (client: EventStoreDBClient, stream: string) => Promise<unknown>;

const attempts: Readonly<Record<string, Attempt>> = {
  read: (client, stream) => collect(client.readStream(stream)),
  follow: async (client, stream) => {
    const followed = new Followed(client.subscribeToStream(stream));
    await followed.live();
    await followed.stop();
  },
  write: (client, stream) => client.appendToStream(stream, lane.event(0)),
  'read metadata': (client, stream) => client.getStreamMetadata(stream),
  'write metadata': (client, stream) => client.setStreamMetadata(stream, { color: 'red' }),
  delete: (client, stream) => client.deleteStream(stream),
  tombstone: (client, stream) => client.tombstoneStream(stream),
};

/** Who may do what, each with a stream of its own in which there is an event. */
const whoMay = async (
  name: string,
  acl?: StreamACL | '$systemStreamAcl',
): Promise<Readonly<Record<string, string>>> => {
  const rows = Object.entries(attempts).map(async ([what, attempt]) => {
    const allowed = Object.entries(everyone).map(async ([who, client]) => {
      const stream = newStream(name);
      await asAdmin.appendToStream(stream, lane.event(0));
      if (acl) await asAdmin.setStreamMetadata(stream, { acl: acl as StreamACL });
      const outcome = await outcomeOf(attempt(client, stream));
      if (outcome === 'access-denied') return [];
      assert.match(outcome, /^(done|at \d+)$/, `${who}: ${what}`);
      return [who];
    });
    return [what, (await Promise.all(allowed)).flat().join(' ')] as const;
  });
  return Object.fromEntries(await Promise.all(rows));
};

const same = (who: string, more: Readonly<Record<string, string>> = {}) => ({
  ...Object.fromEntries(Object.keys(attempts).map((what) => [what, who])),
  ...more,
});

test('a stream without a list is for everybody who signed in', async () => {
  assert.deepEqual(await whoMay('order'), same('admin ada bob ops'));
});

test('a stream of the system is for administrators', async () => {
  assert.deepEqual(await whoMay('$jobs'), same('admin'));
});

test('a list says who may do what: users and groups, by action, and $all for those who did not sign in', async () => {
  const acl: StreamACL = {
    readRoles: ['ada', 'auditors'],
    writeRoles: ['drivers'],
    deleteRoles: ['$ops'],
    metaReadRoles: ['$all'],
    metaWriteRoles: ['$admins'],
  };
  assert.deepEqual(await whoMay('order', acl), {
    read: 'admin ada bob',
    follow: 'admin ada bob',
    write: 'admin bob',
    'read metadata': 'admin ada bob ops anonymous',
    'write metadata': 'admin',
    delete: 'admin ops',
    tombstone: 'admin ops',
  });
});

test('what a list leaves out is as without it', async () => {
  const rest = same('admin ada bob ops', { write: 'admin ada' });
  assert.deepEqual(await whoMay('order', { writeRoles: ['ada'] } as StreamACL), rest);
  assert.deepEqual(await whoMay('order', { readRoles: [] } as unknown as StreamACL), {
    ...same('admin ada bob ops'),
    read: 'admin',
    follow: 'admin',
  });
});

test('a stream may take the defaults of the system', async () => {
  assert.deepEqual(await whoMay('order', '$systemStreamAcl'), same('admin'));
});

test('$all is read and followed by administrators, and by those whom its own list names', async () => {
  const read = (client: EventStoreDBClient) => outcomeOf(collect(client.readAll({ maxCount: 1 })));
  const follow = async (client: EventStoreDBClient) => {
    const followed = new Followed(client.subscribeToAll({ fromPosition: 'end' }));
    return outcomeOf(followed.live().then(() => followed.stop()));
  };
  assert.equal(await read(asAdmin), 'done');
  assert.equal(await follow(asAdmin), 'done');
  for (const client of [asAda, asOps, asNobody]) {
    assert.equal(await read(client), 'access-denied');
    assert.equal(await follow(client), 'access-denied');
  }
  await asAdmin.setStreamMetadata('$all', { acl: { readRoles: ['ada'] } as StreamACL });
  assert.equal(await read(asAda), 'done');
  assert.equal(await follow(asAda), 'done');
  assert.equal(await read(asBob), 'access-denied');
  for (const write of [
    () => asAdmin.appendToStream('$all', lane.event(0)),
    () => asAdmin.appendToStream('$all', lane.event(0), { credentials: admin }),
    () => asAdmin.deleteStream('$all'),
    () => asAdmin.tombstoneStream('$all'),
  ]) {
    await assert.rejects(write, { type: 'access-denied' });
  }
});

test('$settings replaces the defaults, for what it says and as long as it says so', async () => {
  const data = { $userStreamAcl: { $r: '$all', $w: ['ada', 'bob'] }, $systemStreamAcl: { $r: '$ops' } };
  await asAdmin.appendToStream('$settings', jsonEvent({ type: '$settings', data }));
  const everybody = 'admin ada bob ops anonymous';
  assert.deepEqual(
    await whoMay('order'),
    same('admin ada bob ops', { read: everybody, follow: everybody, write: 'admin ada bob' }),
  );
  assert.deepEqual(await whoMay('$jobs'), same('admin', { read: 'admin ops', follow: 'admin ops' }));
  assert.equal((await whoMay('order', { readRoles: ['ada'] } as StreamACL)).read, 'admin ada');
  assert.equal(await outcomeOf(collect(asOps.readStream('$settings'))), 'done');
  await asAdmin.appendToStream('$settings', jsonEvent({ type: '$settings', data: {} }));
  assert.deepEqual(await whoMay('order'), same('admin ada bob ops'));
});

test('credentials of a call go before those of the connection, in every call', async () => {
  const stream = newStream();
  await asAdmin.setStreamMetadata(stream, { acl: { readRoles: ['bob'], writeRoles: ['bob'] } as StreamACL });
  assert.equal(await outcomeOf(asAda.appendToStream(stream, lane.event(0))), 'access-denied');
  assert.equal(await outcomeOf(asAda.appendToStream(stream, lane.event(0), { credentials: bob })), 'at 0');
  assert.equal(await outcomeOf(asBob.appendToStream(stream, lane.event(1), { credentials: ada })), 'access-denied');
  assert.equal(await outcomeOf(collect(asNobody.readStream(stream, { credentials: bob }))), 'done');
  assert.equal(await outcomeOf(collect(asBob.readStream(stream, { credentials: ada }))), 'access-denied');
  assert.equal(await outcomeOf(asNobody.deleteStream(stream, { credentials: admin })), 'done');
});

test('wrong credentials are refused in every call, whatever the lists allow', async () => {
  const stream = newStream();
  await asAdmin.appendToStream(stream, lane.event(0));
  await asAdmin.setStreamMetadata(stream, { acl: { readRoles: ['$all'], writeRoles: ['$all'] } as StreamACL });
  assert.equal(await outcomeOf(asNobody.appendToStream(stream, lane.event(1))), 'at 1');
  for (const wrong of [
    { username: 'admin', password: 'changeit!' },
    { username: 'nobody', password: 'changeit' },
    { username: 'ada', password: 'changeit' },
  ] satisfies readonly Credentials[]) {
    const client = lane.connect(wrong);
    for (const attempt of Object.values(attempts))
      assert.equal(await outcomeOf(attempt(client, stream)), 'access-denied');
    const classic = asAdmin.appendToStream(stream, lane.event(0), { credentials: wrong });
    await assert.rejects(classic, { type: 'access-denied', code: 16 });
  }
});

test('one append that is denied takes no other with it', async () => {
  const [open, closed] = [newStream(), newStream()];
  await asAdmin.setStreamMetadata(closed, { acl: { writeRoles: ['bob'] } as StreamACL });
  const outcomes = await Promise.all(
    [open, closed, open, closed].map((stream, n) => outcomeOf(asAda.appendToStream(stream, lane.event(n)))),
  );
  assert.deepEqual(outcomes, ['at 0', 'access-denied', 'at 1', 'access-denied']);
});

test('a link does not open a stream that is closed to its reader', async () => {
  const [secret, links] = [newStream(), newStream('links')];
  await asAdmin.appendToStream(secret, lane.event(0));
  await asAdmin.setStreamMetadata(secret, { acl: { readRoles: ['bob'] } as StreamACL });
  const link = {
    ...lane.event(0),
    type: '$>',
    contentType: 'application/octet-stream',
    data: Buffer.from(`0@${secret}`),
  };
  await asAda.appendToStream(links, link as never);
  const [ofAda] = await collect(asAda.readStream(links, { resolveLinkTos: true }));
  assert.equal(ofAda?.event, undefined);
  assert.equal(ofAda?.link?.type, '$>');
  const [ofBob] = await collect(asBob.readStream(links, { resolveLinkTos: true }));
  assert.equal(ofBob?.event?.streamId, secret);
});

test('a discovery finds the one leader without signing in, and what follows is signed in', async () => {
  const discovering = lane.store.connectionString(ada).replace('esdb:', 'esdb+discover:');
  const client = EventStoreDBClient.connectionString(discovering);
  assert.equal(await outcomeOf(client.appendToStream(newStream(), lane.event(0))), 'at 0');
  await client.dispose();
});

test('who does not know the authority does not connect, and nobody does in plain text', async () => {
  for (const connection of [
    `esdb://admin:changeit@localhost:${lane.store.port}?tls=true`,
    `esdb://127.0.0.1:${lane.store.port}?tls=false`,
  ]) {
    const client = EventStoreDBClient.connectionString(`${connection}&defaultDeadline=2000`);
    await assert.rejects(client.deleteStream(newStream()), { type: /unavailable|deadline-exceeded/ });
    await client.dispose();
  }
});

test('a changed users file takes effect while the store runs, a broken one does not', async () => {
  const path = String(lane.store.usersFile);
  const before = await readFile(path, 'utf8');
  const read = (credentials: Credentials) => outcomeOf(collect(asNobody.readAll({ maxCount: 1, credentials })));
  const hash = /^admin:([^:]+):/m.exec(before)?.[1];
  await appendFile(path, `eve:${hash}:$admins\n`);
  const eve = { username: 'eve', password: admin.password };
  await eventually('eve to be known', async () => (await read(eve)) === 'done');
  await writeFile(path, 'no user at all');
  await assert.rejects(
    eventually('the broken file to matter', async () => (await read(eve)) !== 'done', 1500),
    /not within/,
  );
  await writeFile(path, before);
  await eventually('eve to be unknown', async () => (await read(eve)) === 'access-denied');
  assert.equal(await read(admin), 'done');
});
