import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseAsOf } from '#http/as-of.ts';

describe('the moment that a question is about', () => {
  const understood: readonly (readonly [string, ReturnType<typeof parseAsOf>])[] = [
    ['0', { position: 0n }],
    ['9223372036854775807', { position: 9223372036854775807n }],
    ['2026-11-22T02:16:05Z', { time: '2026-11-22T02:16:05.000Z' }],
    ['2026-11-22T02:16:05.1234567Z', { time: '2026-11-22T02:16:05.123Z' }],
    ['2026-11-22T02:16+01:00', { time: '2026-11-22T01:16:00.000Z' }],
    // A plus that was not escaped.
    ['2026-11-22T02:16:05 01:00', { time: '2026-11-22T01:16:05.000Z' }],
    ['2026-11-22', { time: '2026-11-22T00:00:00.000Z' }],
  ];
  for (const [text, expected] of understood) test(text, () => assert.deepEqual(parseAsOf(text), expected));

  test('is refused when it is no moment, or one of an unknown zone', () => {
    const wrong = ['now', '-1', '1.5', '2026-11-22T02:16:05', '2026-13-01', '22.11.2026', '99999999999999999999', ''];
    for (const text of wrong) assert.equal(parseAsOf(text), undefined, text);
  });
});
