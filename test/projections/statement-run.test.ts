import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sql } from 'kysely';
import { latestOf, type Statement } from '#projections/projection.ts';
import { StatementRun } from '#projections/statement-run.ts';
import { parameterized } from '#projections/statements.ts';

const plain = (text: string): Statement => ({ compile: () => sql.raw(text).compile(parameterized) });
const textsOf = (run: StatementRun) => run.compile().map((query) => query.sql);

describe('the statements of a batch', () => {
  test('are executed in order, and of those that overwrite each other the last alone', () => {
    const run = new StatementRun();
    run.add('a', 'Reported', [latestOf('job 1', () => plain('first')), plain('sample 1')]);
    run.add('a', 'Reported', [latestOf('job 2', () => plain('other job')), plain('sample 2')]);
    run.add('a', 'Reported', [latestOf('job 1', () => plain('second')), plain('sample 3')]);
    assert.deepEqual(textsOf(run), ['sample 1', 'other job', 'sample 2', 'second', 'sample 3']);
  });

  test('are not built when they are overwritten', () => {
    const run = new StatementRun();
    const never = () => assert.fail('it was built');
    run.add('a', 'Reported', [latestOf('job 1', never)]);
    run.add('a', 'Reported', [latestOf('job 1', () => plain('second'))]);
    assert.deepEqual(textsOf(run), ['second']);
  });

  test('overwrite nothing that something else may rest on, nor what another read model wrote', () => {
    const run = new StatementRun();
    run.add('a', 'Reported', [latestOf('job 1', () => plain('before the end'))]);
    run.add('b', 'Reported', [latestOf('job 1', () => plain('elsewhere'))]);
    run.cut();
    run.add('a', 'Failed', [plain('the end')]);
    run.add('a', 'Reported', [latestOf('job 1', () => plain('after the end'))]);
    assert.deepEqual(textsOf(run), ['before the end', 'elsewhere', 'the end', 'after the end']);
  });

  test('tell whose fault it is that one cannot be built', () => {
    const run = new StatementRun();
    run.add('a', 'Reported', [
      latestOf('job 1', () => {
        throw new Error('no such column');
      }),
    ]);
    assert.throws(() => run.compile(), { name: 'HandlerFault', message: /Reported/ });
  });
});
