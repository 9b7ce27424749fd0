import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { narrateEvent, wordsOfType } from '#domain/narrate-event.ts';
import { upcast } from '../../src/composition/event-registry.ts';

type Stored = Readonly<{ type: string; v: number; data: Readonly<Record<string, unknown>> }>;

describe('every event that was ever written', () => {
  test('is told in a sentence that holds no placeholder', async () => {
    let count = 0;
    for await (const path of glob('*/stored/*.json', { cwd: import.meta.dirname })) {
      const { type, v, data } = JSON.parse(await readFile(join(import.meta.dirname, path), 'utf8')) as Stored;
      const text = narrateEvent({ type, data: upcast(type, v, data) });
      assert.match(text, /^\S.*\.$/s, type);
      assert.doesNotMatch(text, /undefined|\[object|NaN/, type);
      count += 1;
    }
    assert.ok(count > 40);
  });

  test('is told by its name when it has no words of its own', () => {
    assert.equal(wordsOfType('RepositoryRootClaimed'), 'Repository root claimed.');
    assert.equal(narrateEvent({ type: 'SomethingNewHappened', data: {} }), 'Something new happened.');
  });
});
