import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { AuditVerification } from '#commands/verify-audit.ts';
import type { SealedEntry } from '#domain/audit/chain.ts';
import { streamOf } from '#domain/streams.ts';
import { anchorPathBelow } from '#infra/audit-anchors.ts';
import { rowSum } from '#infra/embedded-event-store/checksums.ts';
import { numbered } from '../support/audit-facts.ts';
import { runCli } from '../support/program.ts';
import {
  auditOf,
  auditRow,
  type Copied,
  editEvent,
  entriesOf,
  forge,
  inDatabase,
  onDay,
  type Rewrite,
  rewriteLog,
  storageNode,
  verify,
  withStore,
} from '../support/tampering.ts';

let folder = '';
let original = '';
let root = '';
/** The anchors as the hub wrote them: after the 5th entry and after the last. */
let anchors = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'audit-tampering-'));
  original = join(folder, 'original');
  root = join(folder, 'repository');
  await Promise.all([mkdir(original), mkdir(root)]);
  await withStore(original, async (client) => {
    const { store, audit } = auditOf(client);
    const data = { repositoryId: 'repo-local-1', name: 'primary', realPath: root, at: '2026-11-22T02:16:05.000Z' };
    const context = { actor: 'user:admin', correlationId: 'c', commandId: randomUUID() };
    await store.append(streamOf.repositoryRoots(storageNode), [{ type: 'RepositoryRootClaimed', data }], -1n, context);
    for (let n = 1; n <= 10; n += 1) {
      await audit.trail.record(numbered(n));
      if (n === 5) await audit.writeAnchors();
    }
    await audit.close();
    await audit.writeAnchors();
    await audit.writeAnchors();
  });
  anchors = await readFile(anchorPathBelow(root), 'utf8');
});

after(() => rm(folder, { recursive: true, force: true }));

/** A copy of the data directory that an attacker has worked on while the hub stood still. */
const tampered = async (work: (dataDir: string) => Promise<void> | void, kept = anchors): Promise<string> => {
  const dataDir = join(folder, randomUUID());
  await cp(original, dataDir, { recursive: true });
  await writeFile(anchorPathBelow(root), kept);
  await work(dataDir);
  return dataDir;
};

const nimda = ['user:admin', 'user:nimda'] as const;

const edited = (mend = true) => tampered((dataDir) => editEvent(dataDir, 3, nimda, mend));

const rewritten = async (rewrite: Rewrite, kept = anchors): Promise<string> => {
  const dataDir = join(folder, randomUUID());
  await mkdir(dataDir);
  await writeFile(anchorPathBelow(root), kept);
  await rewriteLog(original, dataDir, rewrite);
  return dataDir;
};

const forged = (change: (entries: readonly SealedEntry[]) => readonly SealedEntry[], kept = anchors) =>
  rewritten(
    onDay((events) => {
      const [first] = events;
      const day = String(first?.data.day);
      return forge(change(events.flatMap(entriesOf))).map((data) => ({
        type: 'AuditBatchRecorded',
        data: { ...data, day },
        metadata: first?.metadata,
      }));
    }),
    kept,
  );

const hideEntry3 = (entries: readonly SealedEntry[]) =>
  entries.map((entry) => (entry.n === 3 ? { ...entry, actor: 'user:somebody' } : entry));

describe('an audit trail that nobody touched', () => {
  test('is found to be as it was written, and its anchors agree', async () => {
    const { ok, entries, difference, anchors: compared } = await verify(await tampered(() => undefined));
    assert.deepEqual([ok, entries, difference], [true, 10, null]);
    assert.deepEqual(compared, { files: 1, checked: 2, unreachable: [] });
    assert.equal(anchors.trim().split('\n').length, 2, 'an anchor is written when the trail has grown, not else');
  });

  test('is found so as well when a repository is away: that is told', async () => {
    const dataDir = await tampered(() => undefined);
    await rm(root, { recursive: true });
    const { ok, anchors: compared } = await verify(dataDir);
    await mkdir(join(root, '.sendense'), { recursive: true });
    assert.equal(ok, true);
    assert.deepEqual(
      compared.unreachable.map(({ place }) => place),
      [anchorPathBelow(root)],
    );
  });

  test('may be copied to another store', async () => {
    const { ok, anchors: compared } = await verify(await rewritten((_, events) => events));
    assert.deepEqual([ok, compared.checked], [true, 2]);
  });
});

describe('tampering with the store’s file', () => {
  test('an entry that says something else is named', async () => {
    const { ok, difference } = await verify(await edited());
    assert.equal(ok, false);
    assert.deepEqual([difference?.kind, difference?.revision, difference?.entry?.n], ['changed', '3', 4]);
    assert.match(difference?.position ?? '', /^\d+$/);
  });

  test('a row whose checksum was not made good is named', async () => {
    const { ok, difference } = await verify(await edited(false));
    assert.deepEqual([ok, difference?.kind], [false, 'unreadable']);
    assert.match(difference?.stream ?? '', /^audit-/);
  });

  test('a batch that was deleted is missed', async () => {
    const dataDir = await tampered((copy) =>
      inDatabase(copy, (database) => {
        const { position } = auditRow(database, 4);
        database.prepare('delete from events where position = ?').run(position);
        database.prepare('insert into gaps values (?, ?, ?)').run(position, position, rowSum(position, position));
      }),
    );
    const { ok, difference } = await verify(dataDir);
    assert.equal(ok, false);
    assert.ok(['removed', 'unreadable'].includes(difference?.kind ?? ''), JSON.stringify(difference));
  });
});

describe('tampering with the log as a whole', () => {
  test('an entry that is left out is missed, also where the revisions were closed up', async () => {
    const { difference } = await verify(await rewritten(onDay((events) => events.toSpliced(4, 1))));
    assert.deepEqual([difference?.kind, difference?.entry, difference?.revision], ['removed', { n: 5, id: null }, '4']);
  });

  test('an entry that was put in is named', async () => {
    const { difference } = await verify(
      await rewritten(onDay((events) => events.toSpliced(4, 0, events[1] as Copied))),
    );
    assert.deepEqual([difference?.kind, difference?.entry?.n, difference?.revision], ['inserted', 2, '4']);
  });

  test('entries that were swapped are named', async () => {
    const { difference } = await verify(
      await rewritten(onDay(([a, b, c, ...rest]) => [a, c, b, ...rest].filter((event) => event !== undefined))),
    );
    assert.deepEqual([difference?.kind, difference?.entry?.n], ['removed', 2]);
  });

  test('a past that was made good up to some entry is told by the next', async () => {
    const dataDir = await rewritten(
      onDay((events) => {
        const made = forge(hideEntry3(events.flatMap(entriesOf)));
        return events.map((event, index) => ({
          ...event,
          data: index < 6 ? { ...made[index], day: event.data.day } : event.data,
        }));
      }),
      '',
    );
    const { difference } = await verify(dataDir);
    assert.deepEqual([difference?.kind, difference?.entry?.n], ['changed', 6]);
  });

  test('a tail that was cut off is missed by the anchor alone', async () => {
    const cut = (kept: string) =>
      rewritten(
        onDay((events) => events.slice(0, -3)),
        kept,
      );
    const { ok, difference } = await verify(await cut(anchors));
    assert.deepEqual([ok, difference?.kind, difference?.entry?.n], [false, 'truncated', 10]);
    assert.match(difference?.detail ?? '', /ends with entry 7/);
    assert.equal((await verify(await cut(''))).ok, true, 'nothing else could tell');
  });

  test('a chain that was made good from end to end is told by the anchor alone', async () => {
    const { difference } = await verify(await forged(hideEntry3));
    assert.deepEqual([difference?.kind, difference?.entry?.n], ['anchor-disagrees', 5]);
    assert.equal((await verify(await forged(hideEntry3, ''))).ok, true, 'nothing else could tell');
  });

  test('a log without any trail is told by the anchor', async () => {
    const nothing = await rewritten((stream, events) => (stream.startsWith('audit') ? [] : events));
    assert.equal((await verify(nothing)).difference?.kind, 'truncated');
  });

  test('an anchor file that was made unreadable is told', async () => {
    const dataDir = await tampered(() => undefined, `${anchors}{"stream":"x"}\n`);
    const { ok, difference } = await verify(dataDir);
    assert.deepEqual([ok, difference?.kind], [false, 'anchor-disagrees']);
    assert.match(difference?.detail ?? '', /line 3 of .* is no anchor/);
  });

  test('an anchor that a crash cut off is no difference, and gives way to the next', async () => {
    const dataDir = await tampered(() => undefined, anchors.slice(0, -40));
    const { ok, anchors: compared } = await verify(dataDir);
    assert.deepEqual([ok, compared.checked], [true, 1]);
    await withStore(dataDir, (client) => auditOf(client).audit.writeAnchors());
    const lines = (await readFile(anchorPathBelow(root), 'utf8')).trim().split('\n');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).count),
      [5, 10],
    );
    assert.equal((await verify(dataDir)).ok, true);
  });
});

describe('./sendense audit verify without a hub', () => {
  const run = (dataDir: string, ...args: readonly string[]) =>
    runCli(['audit', 'verify', ...args], { SENDENSE_DATA_DIR: dataDir, SENDENSE_NODE_NAME: storageNode }, folder);

  test('ends with 0 and a sentence when all agree', async () => {
    const { exitCode, stdout, stderr } = await run(await tampered(() => undefined));
    assert.equal(exitCode, 0, stderr);
    assert.match(stdout, /^✔ 10 entries of 1 days are as they were written; 2 anchors in 1 files agree$/);
  });

  test('ends with 1 and names the first difference when they do not', async () => {
    const dataDir = await edited();
    const plain = await run(dataDir);
    assert.equal(plain.exitCode, 1, plain.stderr);
    assert.match(
      plain.stdout,
      /entry 4 is not what its hash was made of\n {2}changed at audit-\S+, revision 3, position \d+, entry 4/,
    );
    const json = await run(dataDir, '--json');
    assert.equal(json.exitCode, 1);
    assert.equal((JSON.parse(json.stdout) as AuditVerification).difference?.entry?.n, 4);
  });

  test('compares with a copy of the anchors that was kept elsewhere', async () => {
    const copy = join(folder, 'copy.ndjson');
    await writeFile(copy, anchors);
    const dataDir = await forged(hideEntry3, '');
    assert.equal((await run(dataDir)).exitCode, 0);
    const { exitCode, stdout } = await run(dataDir, '--anchors', copy);
    assert.equal(exitCode, 1);
    assert.match(stdout, /anchor-disagrees/);
  });

  test('tells what is wrong with its arguments', async () => {
    const { exitCode, stderr } = await run(original, '--jsn');
    assert.equal(exitCode, 2);
    assert.match(stderr, /--jsn/);
    assert.match((await runCli(['audit'], {}, folder)).stderr, /^usage: /);
  });
});
