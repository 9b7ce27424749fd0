import assert from 'node:assert/strict';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createMeasureRepositories } from '#commands/measure-repositories.ts';
import type { RepositoryProbe } from '#commands/repository-ports.ts';
import { createStorageMeter } from '#commands/storage-meter.ts';
import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import { contextOf, never, repositoryWorld, tempFolder, wanted } from './repository-world.ts';

const withCode =
  (code: string, text = /./) =>
  (error: unknown) =>
    error instanceof DomainError && error.code === code && text.test(error.message);

const space = { totalBytes: 10, usedBytes: 4, availableBytes: 6, writable: true };

/** A filesystem that answers when it is told to, and counts how often it was asked. */
const deadFilesystem = () => {
  const answers: (() => void)[] = [];
  const hang = () => new Promise<typeof space>((resolve) => answers.push(() => resolve(space)));
  const probe: RepositoryProbe = { test: hang, measure: hang, realPath: async (path) => path };
  return { probe, answers };
};

describe('measuring a repository', () => {
  test('records what it found, in a stream that keeps the newest hundred', async (t) => {
    const world = await repositoryWorld(t, { measure: async () => space });
    const { repository } = await world.add(wanted('Primary', join(await tempFolder(t), 'a')));
    const { repositoryId, path } = repository;
    const { measured, position } = await world.measurements.refresh(repositoryId, contextOf(), never);
    assert.deepEqual(measured, { repositoryId, totalBytes: 10, usedBytes: 4, availableBytes: 6, at: world.time.now });
    assert.ok(position !== undefined);
    const stream = streamOf.repositoryStorage(repositoryId);
    const more = Array.from({ length: 104 }, () => ({ type: 'RepositoryStorageMeasured', data: measured }));
    await world.store.append(stream, more, 0n, contextOf());
    const { events, revision } = await world.store.read(stream);
    assert.equal(revision, 104n);
    assert.equal(events.length, 100);
    assert.deepEqual(events.at(-1)?.event, { type: 'RepositoryStorageMeasured', data: measured });
    assert.equal(path, repository.config.path);
  });

  test('is refused for an unknown one, for a removed one, and for one that is not there', async (t) => {
    const world = await repositoryWorld(t);
    const path = join(await tempFolder(t), 'a');
    const { repositoryId } = (await world.add(wanted('Primary', path))).repository;
    const refresh = (id: string) => world.measurements.refresh(id, contextOf(), never);
    await assert.rejects(refresh('repo-local-1'), withCode('repository-not-found'));
    await rm(path, { recursive: true });
    await assert.rejects(
      refresh(repositoryId),
      withCode('repository-unreachable', /No such file|does not exist|missing/i),
    );
    assert.deepEqual(await world.typesIn(streamOf.repositoryStorage(repositoryId)), []);
    await world.removal.remove(repositoryId, contextOf());
    await assert.rejects(refresh(repositoryId), withCode('repository-not-found'));
  });

  test('of all records those that answer and tells the reason of those that do not', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    for (const name of ['a', 'b', 'c']) {
      const { repository } = await world.add(wanted(name, join(root, name)));
      world.facts.repositories.push(repository);
    }
    await rm(join(root, 'b'), { recursive: true });
    const { results, position } = await world.measurements.refreshAll(contextOf(), never);
    assert.deepEqual(
      results.map(({ name, ok }) => [name, ok]),
      [...Object.entries({ a: true, b: false, c: true })],
    );
    const c = world.facts.repositories[2]?.repositoryId ?? '';
    const { events } = await world.store.read(streamOf.repositoryStorage(c));
    assert.equal(events.length, 1);
    assert.ok(position !== undefined && position >= (events[0]?.position ?? 0n));
  });

  test('for a look keeps nothing and never throws', async (t) => {
    const world = await repositoryWorld(t);
    const root = await tempFolder(t);
    const { repositoryId, path } = (await world.add(wanted('Primary', join(root, 'a')))).repository;
    assert.equal((await world.measurements.peek({ repositoryId, path }, never))?.at, world.time.now);
    assert.equal(await world.measurements.peek({ repositoryId, path: join(root, 'missing') }, never), null);
    assert.deepEqual(await world.typesIn(streamOf.repositoryStorage(repositoryId)), []);
  });
});

describe('a filesystem that does not answer', () => {
  const limits = { testTimeoutMs: 30, measureTimeoutMs: 30 };

  test('is given up after the time allowed', async () => {
    const { probe, answers } = deadFilesystem();
    const meter = createStorageMeter(probe, limits);
    await assert.rejects(
      meter.measure('/dead', never),
      withCode('repository-unreachable', /^\/dead did not answer within 0\.03 s$/),
    );
    await assert.rejects(meter.test('/dead', never), withCode('repository-unusable', /did not answer/));
    assert.equal(answers.length, 2);
  });

  test('is asked once however many want to know, and again after it answered', async () => {
    const { probe, answers } = deadFilesystem();
    const meter = createStorageMeter(probe, limits);
    for (let i = 0; i < 3; i += 1) await assert.rejects(meter.measure('/dead', never), DomainError);
    const [one, two] = [meter.measure('/dead', never), meter.measure('/dead', never)];
    assert.equal(answers.length, 1);
    answers[0]?.();
    assert.deepEqual(await Promise.all([one, two]), [space, space]);
    const later = meter.measure('/dead', never);
    answers[1]?.();
    assert.deepEqual(await later, space);
  });

  test('does not hold up a list or the other repositories', async (t) => {
    const world = await repositoryWorld(t);
    const { probe } = deadFilesystem();
    const alive = async () => space;
    const mixed = { ...probe, measure: (path: string) => (path === '/dead' ? probe.measure(path, never) : alive()) };
    const measurements = createMeasureRepositories({ ...world.deps, meter: createStorageMeter(mixed, limits) });
    const looked = await Promise.all(
      ['/dead', '/alive'].map((path) => measurements.peek({ repositoryId: path, path }, never)),
    );
    assert.deepEqual(
      looked.map((each) => each?.repositoryId ?? null),
      [null, '/alive'],
    );
  });

  test('is left at once when nobody wants to know any more', async () => {
    const { probe } = deadFilesystem();
    const gone = new AbortController();
    const asked = createStorageMeter(probe).measure('/dead', gone.signal);
    gone.abort(new Error('the client has gone'));
    await assert.rejects(asked, withCode('repository-unreachable', /client has gone/));
  });
});

describe('trying a directory', () => {
  test('makes, measures and leaves it empty; nothing is recorded', async (t) => {
    const world = await repositoryWorld(t);
    const path = join(await tempFolder(t), 'a');
    const tested = await world.tests.testConfig({ path }, never);
    assert.equal(tested.writable, true);
    assert.equal(tested.path, path);
    assert.deepEqual(await readdir(path), []);
    assert.deepEqual(await world.typesIn(streamOf.repositoryRoots('hub-1')), []);
  });

  test('of a repository uses what was stored', async (t) => {
    const world = await repositoryWorld(t);
    const path = join(await tempFolder(t), 'a');
    const { repositoryId } = (await world.add(wanted('Primary', path))).repository;
    assert.equal((await world.tests.testStored(repositoryId, never)).path, path);
    await assert.rejects(world.tests.testStored('repo-local-1', never), withCode('repository-not-found'));
  });
});
