import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { canonicalJson, emptyChain, hashAfter, type SealedEntry, sealAll } from '#domain/audit/chain.ts';
import { auditDayDecider, auditDaysDecider } from '#domain/audit/decide.ts';
import { tidyEntry } from '#domain/audit/entry.ts';
import type { AuditEvent } from '#domain/audit/events.ts';
import { auditEntry, numbered, sha256 } from '../../support/audit-facts.ts';
import { given } from '../../support/given.ts';

const decider = auditDayDecider(sha256);
const day = '2026-11-22';
const at = '2026-11-22T02:16:05.000Z';

const record = (...entries: Parameters<typeof sealAll>[0]) =>
  ({ type: 'RecordBatch', data: { day, entries, start: emptyChain } }) as const;

const batchOf = (entries: readonly SealedEntry[], previousHash: string): AuditEvent => ({
  type: 'AuditBatchRecorded',
  data: { day, entries, previousHash, hash: entries.at(-1)?.hash ?? '' },
});

describe('the canonical text of an entry', () => {
  test('does not depend on the order of keys, however deep', () => {
    const one = { b: 1, a: { d: [{ z: null, y: 'ü' }], c: true }, 10: 'x', 9: 'y' };
    const same = { 9: 'y', a: { c: true, d: [{ y: 'ü', z: null }] }, 10: 'x', b: 1 };
    assert.equal(canonicalJson(one), canonicalJson(same));
    assert.equal(canonicalJson(one), '{"10":"x","9":"y","a":{"c":true,"d":[{"y":"ü","z":null}]},"b":1}');
  });

  test('differs for whatever differs', () => {
    const texts = [{ a: 1 }, { a: '1' }, { a: null }, { a: [1] }, { b: 1 }, { a: { a: 1 } }].map(canonicalJson);
    assert.equal(new Set(texts).size, texts.length);
  });
});

describe('the chain', () => {
  test('numbers entries and runs one hash through all of them', () => {
    const [first, second] = [numbered(1), numbered(2)];
    const { sealed, head } = sealAll([first, second], emptyChain, sha256);
    const h1 = sha256(`${'0'.repeat(64)}\n${canonicalJson({ ...first, n: 1 })}`);
    const h2 = sha256(`${h1}\n${canonicalJson({ ...second, n: 2 })}`);
    assert.deepEqual(sealed, [
      { ...first, n: 1, hash: h1 },
      { ...second, n: 2, hash: h2 },
    ]);
    assert.deepEqual(head, { hash: h2, count: 2 });
  });

  test('is the same whether entries come one by one or together', () => {
    const entries = [numbered(1), numbered(2), numbered(3)];
    const together = sealAll(entries, emptyChain, sha256).head;
    const oneByOne = entries.reduce((head, entry) => sealAll([entry], head, sha256).head, emptyChain);
    assert.deepEqual(oneByOne, together);
  });

  test('of a released version is computed the same for ever', async () => {
    const path = new URL('./stored/AuditBatchRecorded.v1.json', import.meta.url);
    const { data } = JSON.parse(await readFile(path, 'utf8')) as Extract<AuditEvent, { type: 'AuditBatchRecorded' }>;
    let previous = data.previousHash;
    for (const { hash, ...entry } of data.entries) {
      assert.equal(hashAfter(previous, entry, sha256), hash);
      previous = hash;
    }
    assert.equal(data.hash, previous);
    assert.equal(previous, '64a4d89d599ed9430b753b7770cd6ccdd6809b0157e4bb6b569c05ce690a6153');
  });
});

describe('an entry', () => {
  test('keeps no control character and no endless text, which would read back as something else', () => {
    const tidy = tidyEntry(
      auditEntry({ reason: `a\u0000b\n${'x'.repeat(1000)}`, facts: { vm: 'one\ttwo', half: '\ud800' } }),
    );
    assert.equal(tidy.reason, `a b ${'x'.repeat(496)}`);
    assert.deepEqual(tidy.facts, { vm: 'one two', half: '\ufffd' });
    assert.deepEqual(JSON.parse(JSON.stringify(tidy)), tidy);
  });

  test('of a command with hundreds of appends lists some and counts the rest', () => {
    const append = { stream: 's', types: ['T'], ids: ['i'], revision: '0', position: '1' };
    const tidy = tidyEntry(auditEntry({ appends: Array.from({ length: 300 }, () => append) }));
    assert.deepEqual([tidy.appends.length, tidy.moreAppends], [50, 250]);
  });
});

describe('a day of the trail', () => {
  const first = sealAll([numbered(1)], emptyChain, sha256);
  const [entry] = first.sealed;
  assert.ok(entry);
  const recorded = batchOf([entry], emptyChain.hash);
  const { id: _, n: __, hash: ___, ...plain } = entry;
  const again = { ...plain, id: entry.id };

  test('begins with what the day before ended with', () => {
    const start = { hash: 'f'.repeat(64), count: 41 };
    const { sealed, head } = sealAll([again], start, sha256);
    given(decider)
      .when({ type: 'RecordBatch', data: { day, entries: [again], start } })
      .thenEvents({
        type: 'AuditBatchRecorded',
        data: { day, entries: sealed, previousHash: start.hash, hash: head.hash },
      });
  });

  test('goes on with the hash of its last batch', () => {
    const next = sealAll([numbered(2, { id: 'second' })], first.head, sha256);
    given(decider, recorded)
      .when(record(numbered(2, { id: 'second' })))
      .thenEvents(batchOf(next.sealed, first.head.hash));
  });

  test('records no empty batch', () => given(decider).when(record()).thenNothing());

  test('is closed once, with its last hash, and takes nothing more', () => {
    const close = { type: 'CloseDay', data: { day, nextDay: '2026-11-23', start: emptyChain, at } } as const;
    const closed: AuditEvent = { type: 'AuditDayClosed', data: { day, nextDay: '2026-11-23', ...first.head, at } };
    given(decider, recorded).when(close).thenEvents(closed);
    given(decider, recorded, closed).when(close).thenNothing();
    given(decider, recorded, closed)
      .when(record(numbered(2)))
      .thenNothing();
  });
});

describe('the days', () => {
  const begin = (next: string, previousDay: string | null) =>
    ({ type: 'BeginDay', data: { day: next, previousDay, start: emptyChain, at } }) as const;
  const begun = (next: string, previousDay: string | null) =>
    ({
      type: 'AuditDayBegun',
      data: { day: next, previousDay, previousHash: emptyChain.hash, previousCount: 0, at },
    }) as const;

  test('only go forward', () => {
    given(auditDaysDecider).when(begin(day, null)).thenEvents(begun(day, null));
    given(auditDaysDecider, begun(day, null)).when(begin(day, null)).thenNothing();
    given(auditDaysDecider, begun(day, null)).when(begin('2026-11-21', null)).thenNothing();
    given(auditDaysDecider, begun(day, null)).when(begin('2026-11-24', day)).thenEvents(begun('2026-11-24', day));
  });
});
