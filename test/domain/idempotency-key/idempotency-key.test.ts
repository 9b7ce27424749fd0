import { describe, test } from 'node:test';
import { idempotencyKeyDecider } from '#domain/idempotency-key/idempotency-key.ts';
import { at, backupId } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

const data = { operation: 'start-backup', requestSha256: 'aa', subject: backupId, at: at() };
const used = { type: 'IdempotencyKeyUsed', data } as const;
const use = (over: Partial<typeof data> = {}) => ({ type: 'UseIdempotencyKey', data: { ...data, ...over } }) as const;

describe('an idempotency key', () => {
  test('stands for its first request', () => given(idempotencyKeyDecider).when(use()).thenEvents(used));
  test('is answered with what the first request made', () =>
    given(idempotencyKeyDecider, used)
      .when(use({ subject: 'backup-other', at: at(9) }))
      .thenNothing());
  test('is refused for another request', () =>
    void given(idempotencyKeyDecider, used)
      .when(use({ requestSha256: 'bb' }))
      .thenRefused('idempotency-key-reused'));
});
