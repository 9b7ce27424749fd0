import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { formatChangeId, newEpoch, parseChangeId } from '#sna/change-id.ts';
import { bytesBefore, type Extent, extentList, requestSizeFor, totalBytes, union } from '#sna/extents.ts';
import {
  changedSince,
  changeIdOf,
  MirrorState,
  newState,
  withPending,
  withSnapshot,
} from '#sna/sources/disk-image/mirror-state.ts';

const extents = fc.array(fc.record({ offset: fc.nat(200), length: fc.integer({ min: 1, max: 50 }) }), {
  maxLength: 12,
});
const bytesOf = (list: readonly Extent[]) =>
  new Set(list.flatMap(({ offset, length }) => Array.from({ length }, (_, index) => offset + index)));

describe('extents', () => {
  test('a union has exactly the bytes of its parts, sorted and apart', () => {
    fc.assert(
      fc.property(extents, extents, (a, b) => {
        const merged = union(a, b);
        assert.deepEqual(bytesOf(merged), new Set([...bytesOf(a), ...bytesOf(b)]));
        for (const [index, extent] of merged.slice(1).entries()) {
          const before = merged[index];
          assert.ok(before !== undefined && before.offset + before.length < extent.offset);
        }
      }),
    );
  });

  test('bytes before an offset are those of the extents below it', () => {
    fc.assert(
      fc.property(extents, fc.nat(300), (list, offset) => {
        const merged = union(list);
        assert.equal(bytesBefore(merged, offset), [...bytesOf(merged)].filter((at) => at < offset).length);
        assert.equal(totalBytes(merged), bytesOf(merged).size);
      }),
    );
  });

  test('a request never reaches beyond an extent, and is no larger than pays', () => {
    const kib = 1024;
    assert.equal(requestSizeFor([{ offset: 1024 * kib, length: 1024 * kib }]), 256 * kib);
    assert.equal(requestSizeFor([{ offset: 128 * kib, length: 256 * kib }]), 128 * kib);
    assert.equal(requestSizeFor([{ offset: 0, length: 512 }]), 64 * kib);
  });

  test('the list for nbdkit has one extent a line', () => {
    assert.equal(
      extentList([
        { offset: 0, length: 512 },
        { offset: 4096, length: 1 },
      ]),
      '0 512\n4096 1\n',
    );
  });
});

describe('change ids', () => {
  test("have vSphere's form and are read back", () => {
    const id = { epoch: newEpoch(), sequence: 5440 };
    assert.match(formatChangeId(id), /^[0-9a-f]{2}( [0-9a-f]{2}){7}-[0-9a-f]{2}( [0-9a-f]{2}){7}\/5440$/);
    assert.deepEqual(parseChangeId(formatChangeId(id)), id);
  });

  test('anything else is no change id', () => {
    for (const text of ['', 'PLACEHOLDER', '*', '52 66/1', `${newEpoch()}`, `${newEpoch()}/`, `${newEpoch()}/-1`]) {
      assert.equal(parseChangeId(text), undefined, text);
    }
  });
});

describe("a disk's change log", () => {
  const fresh = () => newState({ identity: 'disk', mirror: 'mirror', capacityBytes: 1000, stamp: 's', firm: true });
  const at = (offset: number): Extent => ({ offset, length: 10 });

  test('tells all changes since any of its snapshots', () => {
    const first = withSnapshot(fresh());
    const second = withSnapshot(withPending(first, [at(0)]));
    const third = withSnapshot(withPending(withPending(second, [at(50)]), [at(100)]));
    assert.deepEqual(changedSince(third, changeIdOf(first)), [at(0), at(50), at(100)]);
    assert.deepEqual(changedSince(third, changeIdOf(second)), [at(50), at(100)]);
    assert.deepEqual(changedSince(third, changeIdOf(third)), []);
  });

  test('tells nothing for an id that it does not reach: another epoch, the future, before its first, long ago', () => {
    let state = withSnapshot(fresh());
    const first = changeIdOf(state);
    assert.equal(changedSince(state, changeIdOf(withSnapshot(fresh()))), undefined);
    assert.equal(changedSince(state, formatChangeId({ epoch: state.epoch, sequence: 2 })), undefined);
    assert.equal(changedSince(state, formatChangeId({ epoch: state.epoch, sequence: 0 })), undefined);
    for (let count = 0; count < 99; count += 1) state = withSnapshot(state);
    assert.deepEqual(changedSince(state, first), []);
    for (let count = 0; count < 2; count += 1) state = withSnapshot(state);
    assert.equal(changedSince(state, first), undefined);
  });

  test('is read back from its file as it was written', () => {
    const state = withSnapshot(withPending(withSnapshot(fresh()), [at(20)]));
    assert.deepEqual(MirrorState.parse(JSON.parse(JSON.stringify(state))), state);
  });

  test('does not call disk and mirror equal once a difference was found', () => {
    assert.equal(withPending(fresh(), [at(0)]).stamp, null);
  });
});
