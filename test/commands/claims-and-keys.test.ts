import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { claimName, isFresh, releaseName } from '#commands/claim-name.ts';
import { idempotentSubject } from '#commands/idempotent-subject.ts';
import { at } from '../support/backup-facts.ts';
import { context } from '../support/backup-world.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';

const setUp = () => ({ store: createFakeEventStore(), clock: { now: () => at(100) } });
const claim = (holder: string, lives: boolean) =>
  ({ kind: 'repositoryName', name: 'Primär', holder, holderLives: async () => lives }) as const;

describe('claiming a name', () => {
  test('is refused while its holder lives, and possible when it is gone', async () => {
    const deps = setUp();
    await claimName(deps, claim('repo-1', true), context());
    await claimName(deps, claim('repo-1', true), context());
    await assert.rejects(claimName(deps, claim('repo-2', true), context()), { code: 'name-taken' });
    await claimName(deps, claim('repo-2', false), context());
    await assert.rejects(claimName(deps, claim('repo-1', true), context()), { code: 'name-taken' });
  });

  test('is possible for one of many who ask at once', async () => {
    const deps = setUp();
    const all = await Promise.allSettled([1, 2, 3].map((n) => claimName(deps, claim(`repo-${n}`, true), context())));
    assert.equal(all.filter(({ status }) => status === 'fulfilled').length, 1);
  });

  test('replaces a gone holder, not the one who replaced it first', async () => {
    const deps = setUp();
    await claimName(deps, claim('repo-1', true), context());
    const slow = {
      ...claim('repo-3', false),
      holderLives: async () => {
        await claimName(deps, claim('repo-2', false), context());
        return false;
      },
    };
    await assert.rejects(claimName(deps, slow, context()), { code: 'name-taken' });
  });

  test('is undone by its holder alone', async () => {
    const deps = setUp();
    await claimName(deps, claim('repo-1', true), context());
    await releaseName(deps, claim('repo-2', true), context());
    await assert.rejects(claimName(deps, claim('repo-2', true), context()), { code: 'name-taken' });
    await releaseName(deps, claim('repo-1', true), context());
    await claimName(deps, claim('repo-2', true), context());
  });

  test('holds for half a minute for what is just being created', () => {
    assert.deepEqual(
      [29, 30, 31].map((seconds) => isFresh(at(0), at(seconds))),
      [true, false, false],
    );
  });
});

describe('a request with an Idempotency-Key', () => {
  const request = { operation: 'start-backup', requestSha256: 'aa' };
  const sameKey = { ...context(), commandId: 'key-1' };

  test('is answered with what the first one made; without a key nothing is kept', async () => {
    const deps = setUp();
    assert.equal(await idempotentSubject(deps, 'backup-1', request, sameKey), 'backup-1');
    assert.equal(await idempotentSubject(deps, 'backup-2', request, sameKey), 'backup-1');
    assert.equal(await idempotentSubject(deps, 'backup-3', request, { ...sameKey, commandId: 'key-2' }), 'backup-3');
    assert.equal(await idempotentSubject(deps, 'backup-4', undefined, sameKey), 'backup-4');
    assert.equal(deps.store.log.length, 2);
  });

  test('is refused when the key stood for another request', async () => {
    const deps = setUp();
    await idempotentSubject(deps, 'backup-1', request, sameKey);
    const other = idempotentSubject(deps, 'backup-2', { ...request, requestSha256: 'bb' }, sameKey);
    await assert.rejects(other, { code: 'idempotency-key-reused' });
  });
});
