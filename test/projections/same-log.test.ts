import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LogIdentity, LogMark, MarkFound } from '#projections/ports.ts';
import { whyAnother } from '#projections/same-log.ts';

const mark = (position: bigint): LogMark => ({ stream: 'a-1', revision: position, position, id: `event-${position}` });

/** A log in which the marks, in their order, are found like that. */
const why = (found: readonly MarkFound[], { checkpoint = 5n, head = 9n } = {}): Promise<string | undefined> => {
  const log: LogIdentity = {
    head: async () => head,
    ends: async () => undefined,
    find: async ({ position }) => found[Number(position)] ?? 'absent',
  };
  return whyAnother(log, { checkpoint, marks: found.map((_, index) => mark(BigInt(index))) });
};

describe('a log is the one that the tables follow', () => {
  test('when every event that it is known by is where it was, or was removed', async () => {
    assert.deepEqual([await why(['there', 'there']), await why(['removed', 'there'])], [undefined, undefined]);
  });

  test('when nothing is noted and it is not shorter than what the tables hold', async () => {
    assert.deepEqual([await why([]), await why([], { checkpoint: 9n })], [undefined, undefined]);
    assert.equal(await why([], { checkpoint: 0n, head: 0n }), undefined);
  });
});

describe('a log is another one', () => {
  for (const where of ['elsewhere', 'replaced', 'absent'] as const) {
    test(`when one event of several is found ${where}`, async () => {
      assert.match((await why(['there', where, 'there'])) ?? '', /^the event at position 1 \(a-1 revision 1\) is /);
    });
  }

  test('when it ends before what the tables hold', async () => {
    const expected = 'this log ends at position 9, and the read models hold everything up to 10: it lost its end, ';
    for (const marks of [[], ['there']] as const) {
      assert.equal((await why(marks, { checkpoint: 10n }))?.slice(0, expected.length), expected);
    }
  });

  test('when nothing is left of what it was known by', async () => {
    assert.match((await why(['removed', 'removed'])) ?? '', /none of the events any more/);
  });
});
