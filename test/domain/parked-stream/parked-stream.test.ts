import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import { type ParkedStreamEvent, parkedStreamDecider } from '#domain/parked-stream/parked-stream.ts';

const { decide } = parkedStreamDecider;
const place = { projection: 'backups.v1', stream: 'backup-a', revision: 3, at: '2026-11-22T02:16:05.000Z' };
const event = { eventId: 'e', eventType: 'DiskTransferred', reason: 'broken for good' };
const given = (...events: readonly ParkedStreamEvent[]) => fold(parkedStreamDecider, events);
const skipped: ParkedStreamEvent = { type: 'PoisonEventSkipped', data: { ...place, ...event } };
const retried: ParkedStreamEvent = { type: 'ParkedStreamRetried', data: place };

describe('decisions about a parked stream', () => {
  test('are kept: to try again as often as it is asked, to leave an event out once, with its reason', () => {
    const retry = { type: 'RetryParkedStream', data: place } as const;
    assert.deepEqual(decide(retry, given(retried)), [retried]);
    assert.deepEqual(decide({ type: 'SkipPoisonEvent', data: { ...place, ...event } }, given(retried)), [skipped]);
  });

  test('about an event that is skipped already change nothing', () => {
    const again = { ...place, ...event, reason: 'somebody else was faster' };
    assert.deepEqual(decide({ type: 'SkipPoisonEvent', data: again }, given(skipped)), []);
    assert.deepEqual(decide({ type: 'RetryParkedStream', data: place }, given(skipped)), []);
  });

  test('about the next event of the stream, or the same of another stream, are decisions of their own', () => {
    const next = { ...place, ...event, revision: 4 };
    assert.equal(decide({ type: 'SkipPoisonEvent', data: next }, given(skipped)).length, 1);
    const other = { ...place, ...event, stream: 'backup-b' };
    assert.equal(decide({ type: 'SkipPoisonEvent', data: other }, given(skipped)).length, 1);
  });
});
