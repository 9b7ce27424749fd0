import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { locate, partitionName } from '#commands/mounted-path.ts';
import { nameMatcher } from '#commands/name-pattern.ts';
import { DomainError } from '#domain/errors.ts';
import { mountOfFolders, partitionAt } from '../support/mounted-folders.ts';

const parted = mountOfFolders({
  partitioned: true,
  partitions: [partitionAt('/m/partition-1'), partitionAt('/m/partition-2', { number: 2 })],
});

test('the shown form of a partition leads where its real form leads, the rest unchanged', () => {
  for (const shown of [
    '/partition-2',
    '/Partition 2 (100.4 GB)',
    '/Partition 2 - System (1.5 GB)',
    'Partition 2',
    '/Partition 2x',
  ])
    assert.deepEqual(locate(parted, `${shown}/PerfLogs//./a b`), locate(parted, '/partition-2/PerfLogs/a b'), shown);
});

test('what is found never has a step upwards, a NUL or a slash in it', () => {
  const part = fc.constantFrom('partition-1', 'Partition 2 (1 GB)', '..', '.', '', 'a', '%2e%2e', '...', '\0', '..\\');
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      try {
        const place = locate(parted, parts.join('/'));
        if (place.kind === 'inside')
          for (const step of place.below)
            assert.ok(step !== '..' && step !== '.' && !/[/\0]/.test(step) && step !== '');
      } catch (error) {
        assert.ok(error instanceof DomainError, String(error));
      }
    }),
  );
});

test('sizes are told in units of 1024 with one decimal, bytes as they are', () => {
  const named = (sizeBytes: number, label = '') => partitionName(partitionAt('/', { sizeBytes, label }));
  assert.equal(named(1_610_612_736), 'Partition 1 (1.5 GB)');
  assert.equal(named(1023), 'Partition 1 (1023 B)');
  assert.equal(named(104_857_600, 'a/b'), 'Partition 1 - a_b (100.0 MB)');
});

const matches = (pattern: string, name: string, caseSensitive = false): boolean =>
  nameMatcher({ pattern, caseSensitive })(name);

test('patterns are those of a shell', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['*.txt', 'a.TXT', true],
    ['*.txt', 'a.txt.gz', false],
    ['a*b*c', 'aXbXbc', true],
    ['?', '😀', true],
    ['?', '', false],
    ['[a-c]x', 'Bx', true],
    ['[!a-c]x', 'dx', true],
    ['[!a-c]x', 'ax', false],
    ['[]]', ']', true],
    ['[a-]*', '-rf', true],
    ['port', 'Report.doc', true],
    ['**', '', true],
    ['a*', 'b', false],
  ];
  for (const [pattern, name, expected] of cases) assert.equal(matches(pattern, name), expected, `${pattern} ${name}`);
  assert.equal(matches('*.txt', 'a.TXT', true), false);
});

test('a pattern that means harm takes no longer than others', { timeout: 5_000 }, () => {
  assert.equal(matches(`${'*a'.repeat(120)}b`, 'a'.repeat(255)), false);
});

test('a pattern of stars and letters matches what a regular expression of it matches', () => {
  const letters = fc
    .array(fc.constantFrom('a', 'b', '*', '?'), { minLength: 1, maxLength: 7 })
    .map((all) => all.join(''));
  const names = fc.array(fc.constantFrom('a', 'b'), { maxLength: 8 }).map((all) => all.join(''));
  fc.assert(
    fc.property(letters, names, (pattern, name) => {
      fc.pre(/[*?]/.test(pattern));
      const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`);
      assert.equal(matches(pattern, name), expression.test(name));
    }),
    { numRuns: 1000 },
  );
});
