import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openDatabase } from '#infra/embedded-event-store/database.ts';
import { GroupCommit, StorageClosed } from '#infra/embedded-event-store/group-commit.ts';
import { tempDir, until } from './support.ts';

const start = async (t: TestContext, maxSizeBytes?: number) => {
  const database = openDatabase(await tempDir(t), maxSizeBytes);
  t.after(() => database.close());
  database.exec('create table notes (n integer, padding blob) strict');
  const happened: string[] = [];
  const commits = new GroupCommit(database, {
    committing: () => undefined,
    committed: () => happened.push('committed'),
    rolledBack: () => happened.push('rolled back'),
    translated: (error) => error,
    failed: (error) => happened.push(error instanceof Error ? error.message : 'failed'),
  });
  const note = (n: number, sizeBytes = 1) => {
    happened.push(`ran ${n}`);
    return database.prepare('insert into notes values (?, zeroblob(?))').run(n, sizeBytes);
  };
  return { commits, happened, note };
};

test('what arrives together shares one commit, and is answered after it', async (t) => {
  const { commits, happened, note } = await start(t);
  const answered = [1, 2, 3].map(async (n) => {
    await commits.run(1, () => note(n));
    happened.push(`answered ${n}`);
  });
  await Promise.all(answered);
  assert.deepEqual(happened, ['ran 1', 'ran 2', 'ran 3', 'committed', 'answered 1', 'answered 2', 'answered 3']);
});

test('more bytes than a commit should hold are split over several', async (t) => {
  const { commits, happened, note } = await start(t);
  await Promise.all([1, 2, 3].map((n) => commits.run(9 * 1024 * 1024, () => note(n))));
  assert.deepEqual(happened, ['ran 1', 'committed', 'ran 2', 'committed', 'ran 3', 'committed']);
});

test('when very many come together, none waits for all the others', async (t) => {
  const { commits, happened, note } = await start(t);
  const answeredBefore: number[] = [];
  const all = Array.from({ length: 2_000 }, async (_, n) => {
    await commits.run(1, () => note(n));
    answeredBefore[n] = happened.filter((what) => what === 'committed').length;
  });
  await Promise.all(all);
  const groups = happened.filter((what) => what === 'committed').length;
  // Each group is as large as one sync is worth, which is for no disk as much as all of them or as little as one.
  assert.ok(groups > 1 && groups <= 2_000 / 16, `${groups} groups`);
  assert.equal(answeredBefore[0], 1);
});

test('one that does not fit does not take those beside it down', async (t) => {
  const { commits, happened, note } = await start(t, 256 * 1024);
  const outcomes = await Promise.allSettled(
    [1, 500_000, 3].map((sizeBytes, n) => commits.run(sizeBytes, () => note(n, sizeBytes))),
  );
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'written' : outcome.reason.name)),
    ['written', 'StorageFull', 'written'],
  );
  const together = ['ran 0', 'ran 1', 'rolled back'];
  const alone = ['ran 0', 'committed', 'ran 1', 'rolled back', 'ran 2', 'committed'];
  assert.deepEqual(happened, [...together, ...alone]);
});

test('an unknown failure answers nobody, stops the store and refuses what comes later', async (t) => {
  const { commits, happened, note } = await start(t);
  let answered = false;
  for (const n of [1, 2]) {
    void commits
      .run(1, () => {
        note(n);
        if (n === 2) throw new Error('the disk is broken');
      })
      .finally(() => {
        answered = true;
      });
  }
  await until(() => happened.includes('the disk is broken'), 'the failure');
  await assert.rejects(
    commits.run(1, () => note(3)),
    StorageClosed,
  );
  assert.equal(answered, false);
  assert.deepEqual(happened, ['ran 1', 'ran 2', 'the disk is broken']);
});

test('a close refuses what is waiting', async (t) => {
  const { commits, happened, note } = await start(t);
  const waiting = commits.run(1, () => note(1));
  commits.close();
  await assert.rejects(waiting, StorageClosed);
  assert.deepEqual(happened, []);
});
