import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createUpcaster, UnreadableEvent } from '#domain/event-versions.ts';

/** A type that was changed twice: MiB became bytes, then one disk became a list of disks. */
const versions = { DiskSaved: 3, Untouched: 1 };
const upcast = createUpcaster(versions, {
  'DiskSaved.v1': ({ sizeMib, ...rest }) => ({ ...rest, sizeBytes: Number(sizeMib) * 1024 ** 2 }),
  'DiskSaved.v2': ({ diskIndex, sizeBytes, ...rest }) => ({ ...rest, disks: [{ index: diskIndex, sizeBytes }] }),
});

describe('old events are lifted to the newest version', () => {
  const newest = { at: 'now', disks: [{ index: 1, sizeBytes: 3 * 1024 ** 2 }] };

  test('over all steps in between', () =>
    assert.deepEqual(upcast('DiskSaved', 1, { at: 'now', diskIndex: 1, sizeMib: 3 }), newest));
  test('from the version they were written in', () =>
    assert.deepEqual(upcast('DiskSaved', 2, { at: 'now', diskIndex: 1, sizeBytes: 3 * 1024 ** 2 }), newest));
  test('and left alone when they are the newest', () => {
    assert.deepEqual(upcast('DiskSaved', 3, newest), newest);
    assert.deepEqual(upcast('Untouched', 1, { n: 1 }), { n: 1 });
  });

  test('an unknown type stops the reader, who is told which', () =>
    assert.throws(
      () => upcast('DiskTeleported', 1, {}),
      (error) => error instanceof UnreadableEvent && /DiskTeleported v1/.test(error.message),
    ));
  test('a version that only a newer hub knows stops the reader', () =>
    assert.throws(() => upcast('DiskSaved', 4, newest), UnreadableEvent));
  test('a missing step stops the reader: a half-lifted event decides wrongly', () => {
    const torn = createUpcaster({ DiskSaved: 3 }, { 'DiskSaved.v1': (data) => data });
    assert.throws(
      () => torn('DiskSaved', 1, {}),
      (error) => error instanceof UnreadableEvent && /DiskSaved v2/.test(error.message),
    );
  });
});
