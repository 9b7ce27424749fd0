import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ANY, type EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { auditedAppend } from '#commands/audit-ports.ts';
import type { CommandContext } from '#commands/ports.ts';
import type { AuditEntry, AuditedAppend } from '#domain/audit/entry.ts';
import type { DomainEvent } from '#domain/decider.ts';
import { askUnexplained, type WireUnexplained } from '../support/accounted.ts';
import { auditEntry } from '../support/audit-facts.ts';
import { auditOf, editEvent, forge, withStore } from '../support/tampering.ts';

const at = '2026-11-22T02:16:05.000Z';
const repository = (name: string): DomainEvent => ({
  type: 'RepositoryRootClaimed',
  data: { repositoryId: `repo-local-${name}`, name, realPath: `/srv/${name}`, at },
});

/** Appends as the hub does, and tells what an entry would list. */
const commandOf = (client: EventStoreDBClient, actor: string, causationId: string | undefined = randomUUID()) => {
  const { store } = auditOf(client);
  const appends: AuditedAppend[] = [];
  const context: CommandContext = {
    ...{ actor, correlationId: randomUUID(), commandId: randomUUID() },
    ...(causationId === undefined ? {} : { causationId }),
    onAppended: (appended) => appends.push(auditedAppend(appended)),
  };
  const append = async (stream: string, ...events: readonly DomainEvent[]): Promise<void> => {
    const { revision } = await store.read(stream);
    await store.append(stream, events, revision, context);
  };
  return { append, appends, requestId: causationId ?? '' };
};

const record = async (client: EventStoreDBClient, ...entries: readonly Partial<AuditEntry>[]): Promise<void> => {
  const { audit } = auditOf(client);
  for (const over of entries) await audit.trail.record(auditEntry(over));
  await audit.close();
};

const named = ({ findings }: WireUnexplained): readonly string[] =>
  findings.map(({ stream, revision, type }) => `${stream}@${revision} ${type}`);

describe('events that nothing accounts for', () => {
  let folder = '';
  let original = '';

  /** A hub's log with two commands that were recorded, and what a process manager made of one. */
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'unexplained-'));
    original = join(folder, 'original');
    await withStore(original, async (client) => {
      const first = commandOf(client, 'user:admin');
      await first.append('repositoryRoots-a', repository('one'), repository('two'));
      const second = commandOf(client, 'user:admin');
      await second.append('repositoryRoots-b', repository('three'));
      const cause = second.appends[0]?.ids[0];
      await commandOf(client, 'process:backup-runner', cause).append('repositoryRoots-b', repository('four'));
      await record(client, { appends: first.appends }, { appends: second.appends });
      // Another program's in the same store.
      await client.appendToStream('orders-1', jsonEvent({ type: 'OrderPlaced', data: {} }));
    });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const changed = async (work: (client: EventStoreDBClient) => Promise<unknown>): Promise<string> => {
    const dataDir = join(folder, randomUUID());
    await cp(original, dataDir, { recursive: true });
    await withStore(dataDir, work);
    return dataDir;
  };

  const asked = async (work: (client: EventStoreDBClient) => Promise<unknown>, ...args: readonly string[]) => {
    const found = await askUnexplained(await changed(work), ...args);
    assert.equal(found.exitCode, found.ok ? 0 : 1);
    return found;
  };

  test('are none in a log that the hub wrote, and other programs` events are not looked at', async () => {
    const found = await askUnexplained(original);
    // Four of commands, and of the trail its day, the beginning of it, and a batch more at the most.
    assert.deepEqual([found.exitCode, found.ok, found.findings, found.pending], [0, true, [], 0]);
    assert.ok(found.judged >= 6 && found.judged <= 7, `${found.judged}`);
  });

  test('are found where a bare client appended them, with their place', async () => {
    const found = await asked((client) =>
      client.appendToStream('repositoryRoots-b', jsonEvent({ type: 'RepositoryRootClaimed', data: { at } })),
    );
    assert.deepEqual([found.exitCode, named(found)], [1, ['repositoryRoots-b@2 RepositoryRootClaimed']]);
    const [finding] = found.findings;
    assert.match(finding?.why ?? '', /written by somebody who is not named, and no entry of the audit trail lists it/);
    const since = await asked(
      async (client) => {
        await client.appendToStream('repositoryRoots-b', jsonEvent({ type: 'RepositoryRootClaimed', data: { at } }));
      },
      '--from',
      `${BigInt(finding?.position ?? 0) + 1n}`,
    );
    assert.deepEqual([since.exitCode, since.judged, since.unexplained], [0, 0, 0]);
  });

  test('are found when they claim to be somebody`s, or to follow from what is not there', async () => {
    const found = await asked(async (client) => {
      await commandOf(client, 'user:admin').append('repositoryRoots-a', repository('five'));
      await commandOf(client, 'process:backup-runner').append('backup-x-1', { type: 'BackupClosed', data: { at } });
      await commandOf(client, 'node:127.0.0.1').append('telemetry-x-1', { type: 'ProgressReported', data: { at } });
      await commandOf(client, 'system', '').append('nbdPorts-x', { type: 'NbdPortsReleased', data: { at } });
    });
    const places = ['repositoryRoots-a@2 RepositoryRootClaimed', 'backup-x-1@0 BackupClosed'];
    assert.deepEqual(named(found), [...places, 'telemetry-x-1@0 ProgressReported', 'nbdPorts-x@0 NbdPortsReleased']);
  });

  test('are found although they carry an id that an entry lists, for another place', async () => {
    const found = await asked(async (client) => {
      const [first] = await Array.fromAsync(client.readStream('repositoryRoots-a', { maxCount: 1 }));
      const { id = '', metadata } = first?.event ?? {};
      const data = { ...repository('one').data };
      await client.appendToStream(
        'repositoryRoots-c',
        jsonEvent({ id, type: 'RepositoryRootClaimed', data, metadata: metadata as Record<string, string> }),
      );
    });
    assert.deepEqual(named(found), ['repositoryRoots-c@0 RepositoryRootClaimed']);
  });

  test('are found in the streams of the trail, and in what hides events of the hub', async () => {
    const found = await asked(async (client) => {
      const [data] = forge([{ ...auditEntry(), n: 1, hash: '' }]);
      assert.ok(data);
      await client.appendToStream('audit-1999-01-01', jsonEvent({ type: 'AuditBatchRecorded', data: { ...data } }));
      await client.setStreamMetadata('repositoryRoots-a', { truncateBefore: 1 });
      await client.tombstoneStream('repositoryRoots-b', { expectedRevision: ANY });
    });
    const [day, bounds, deletion] = found.findings;
    assert.equal(found.unexplained, 3, JSON.stringify(found.findings));
    assert.equal(day?.why, 'the audit trail never began this day');
    assert.deepEqual([bounds?.stream, deletion?.stream], ['$$repositoryRoots-a', 'repositoryRoots-b']);
  });

  test('are not those whose entry comes after many others, or tells that it lists only some', async () => {
    const found = await asked(async (client) => {
      const late = commandOf(client, 'user:admin');
      await late.append('repositoryRoots-a', repository('late'));
      const many = commandOf(client, 'user:admin');
      for (let n = 0; n < 60; n += 1) await many.append(`claim-vmName-${n}`, { type: 'NameClaimed', data: { at } });
      const { appends, requestId } = many;
      await record(client, { appends, requestId }, { appends: [] }, { appends: late.appends });
      // Of the same request, but somebody else's.
      await commandOf(client, 'user:nimda', requestId).append('claim-vmName-x', { type: 'NameClaimed', data: { at } });
    });
    assert.deepEqual(named(found), ['claim-vmName-x@0 NameClaimed']);
  });

  test('include those that only a dry run lists', async () => {
    const found = await asked(async (client) => {
      const dry = commandOf(client, 'user:admin');
      await dry.append('repositoryRoots-a', repository('dry'));
      await record(client, { appends: dry.appends, dryRun: true });
    });
    assert.equal(found.unexplained, 1);
  });

  test('are not told from a trail that does not hold', async () => {
    const dataDir = await changed(async () => undefined);
    editEvent(dataDir, 0, ['user:admin', 'user:nimda'], true);
    const { exitCode, ok, findings, trail } = await askUnexplained(dataDir);
    assert.deepEqual([exitCode, ok, findings, trail.difference?.kind], [1, false, [], 'changed']);
  });
});
