import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { RevisionConflict, StoreUnavailable } from '#commands/ports.ts';
import { DomainError, type ErrorCode } from '#domain/errors.ts';
import type { ErrorGroup } from '#http/error-shapes.ts';
import { type Endpoint, resource } from '#http/route.ts';
import { serveApp } from './support.ts';

/** An endpoint that fails as told. */
const failing = (error: unknown, group: ErrorGroup = 'E1', statuses: Endpoint['statuses'] = {}): Endpoint =>
  resource({ tag: 'Failing', group }).endpoint('GET /failing', {
    summary: 'Fails',
    reply: z.object({}),
    statuses,
    handle: async () => {
      throw error;
    },
  });

const fail = async (url: string) => {
  const reply = await fetch(`${url}/api/v1/failing`);
  assert.match(reply.headers.get('content-type') ?? '', /^application\/json/);
  return { reply, body: (await reply.json()) as Record<string, unknown> };
};

describe('a refusal of the domain', () => {
  const refusal = new DomainError('backup-already-running', 'A backup of pg runs already.', {
    backupId: 'backup-pg-1',
  });

  test('has the shape of its group', async (t) => {
    const e1 = await fail((await serveApp(t, { endpoints: [failing(refusal)] })).url);
    assert.equal(e1.reply.status, 409);
    assert.equal(e1.reply.headers.get('x-error-code'), 'backup-already-running');
    const { timestamp, ...rest } = e1.body;
    assert.deepEqual(rest, { error: 'A backup of pg runs already.', details: 'backup-pg-1' });
    assert.match(String(timestamp), /T\d\d:\d\d:\d\dZ$/);

    const e2 = await fail((await serveApp(t, { endpoints: [failing(refusal, 'E2')] })).url);
    assert.deepEqual(e2.body, { success: false, error: 'A backup of pg runs already.' });

    const group02 = await fail((await serveApp(t, { endpoints: [failing(refusal, 'group02')] })).url);
    assert.equal(group02.body.message, group02.body.error);
    assert.equal(group02.body.details, 'backup-pg-1');
    assert.match(String(group02.body.timestamp), /\.\d{3}Z$/);
  });

  test('tells several facts as one text, and those of the contract as keys too', async (t) => {
    const facts = { backupCount: 42, repositoryId: 'r', names: ['a', 'b'] };
    const error = new DomainError('repository-has-backups', 'It has backups.', facts);
    const e1 = await fail((await serveApp(t, { endpoints: [failing(error)] })).url);
    assert.equal(e1.body.details, 'backup count: 42; repository id: r; names: a, b');
    assert.equal(e1.body.backup_count, 42);
    const e2 = await fail((await serveApp(t, { endpoints: [failing(error, 'E2')] })).url);
    assert.deepEqual(e2.body, { success: false, error: 'It has backups.', backup_count: 42 });
  });

  test('gets the status of its code, unless the endpoint gives it another', async (t) => {
    const statuses: readonly (readonly [ErrorCode, number])[] = [
      ['no-previous-backup', 400],
      ['vm-without-disks', 404],
      ['image-locked', 409],
      ['repository-unusable', 422],
      ['idempotency-key-reused', 422],
      ['local-failure', 500],
      ['node-error', 502],
      ['nbd-ports-exhausted', 503],
      ['node-timeout', 504],
    ];
    for (const [code, status] of statuses) {
      const { url } = await serveApp(t, { endpoints: [failing(new DomainError(code, 'Refused.'))] });
      assert.equal((await fail(url)).reply.status, status, code);
    }
    const timeout = failing(new DomainError('node-timeout', 'Late.'), 'E1', { 'node-timeout': 503 });
    assert.equal((await fail((await serveApp(t, { endpoints: [timeout] })).url)).reply.status, 503);
  });
});

describe('an unknown error', () => {
  test('is a 500 that tells the client nothing and the log everything, once', async (t) => {
    const cause = new Error('password is hunter2');
    const { url, lines } = await serveApp(t, { endpoints: [failing(new Error('secret path', { cause }))] });
    const { reply, body } = await fail(url);
    assert.equal(reply.status, 500);
    assert.doesNotMatch(JSON.stringify(body), /secret|hunter2|at .*\.ts/);
    const failures = lines.filter(({ level }) => level === 'error');
    assert.equal(failures.length, 1);
    assert.ok(failures[0]?.fields.err instanceof Error);
    assert.equal(failures[0].fields.err.cause, cause);
    assert.equal(failures[0]?.fields.requestId, reply.headers.get('x-request-id'));
  });

  test('of the handler that is a zod error is not taken for bad input', async (t) => {
    const error = z.string().safeParse(1).error;
    assert.equal((await fail((await serveApp(t, { endpoints: [failing(error)] })).url)).reply.status, 500);
  });

  test('that is not even an Error is a 500', async (t) => {
    assert.equal((await fail((await serveApp(t, { endpoints: [failing('text')] })).url)).reply.status, 500);
  });
});

test('a store that does not answer, and races lost too often, ask to try again', async (t) => {
  for (const error of [new StoreUnavailable('no leader'), new RevisionConflict('backup-1')]) {
    const { url } = await serveApp(t, { endpoints: [failing(error)] });
    const { reply, body } = await fail(url);
    assert.deepEqual([reply.status, reply.headers.get('retry-after')], [503, '1']);
    assert.doesNotMatch(JSON.stringify(body), /no leader|backup-1/);
  }
});
