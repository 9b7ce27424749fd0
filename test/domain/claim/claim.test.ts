import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ClaimCommand, type ClaimEvent, claimDecider } from '#domain/claim/claim.ts';
import { at } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

const data = (holder: string) => ({ key: 'Primary', holder, at: at() });
const claimed = (holder: string): ClaimEvent => ({ type: 'NameClaimed', data: data(holder) });
const released = (holder: string): ClaimEvent => ({ type: 'NameReleased', data: data(holder) });
const claim = (holder: string, abandonedHolder?: string): ClaimCommand => ({
  type: 'ClaimName',
  data: { ...data(holder), ...(abandonedHolder === undefined ? {} : { abandonedHolder }) },
});
const release = (holder: string): ClaimCommand => ({ type: 'ReleaseName', data: data(holder) });

describe('a name that must be unique', () => {
  test('goes to the first who claims it, and a repeat changes nothing', () => {
    given(claimDecider).when(claim('repo-1')).thenEvents(claimed('repo-1'));
    given(claimDecider, claimed('repo-1')).when(claim('repo-1')).thenNothing();
  });
  test('is refused to another, who is told the name and not the holder', () => {
    const refusal = given(claimDecider, claimed('repo-1')).when(claim('repo-2')).thenRefused('name-taken');
    assert.deepEqual(refusal.details, { name: 'Primary' });
  });
  test('of a holder that is gone goes to the next; of another holder it does not', () => {
    given(claimDecider, claimed('repo-1')).when(claim('repo-2', 'repo-1')).thenEvents(claimed('repo-2'));
    given(claimDecider, claimed('repo-3')).when(claim('repo-2', 'repo-1')).thenRefused('name-taken');
  });
  test('is given back by its holder alone, once, and is then free', () => {
    given(claimDecider, claimed('repo-1')).when(release('repo-1')).thenEvents(released('repo-1'));
    given(claimDecider, claimed('repo-1')).when(release('repo-2')).thenNothing();
    given(claimDecider).when(release('repo-1')).thenNothing();
    given(claimDecider, claimed('repo-1'), released('repo-1')).when(claim('repo-2')).thenEvents(claimed('repo-2'));
  });
  test('is known from its newest event alone', () => {
    for (const event of [claimed('a'), released('a')]) assert.ok(claimDecider.isWholeState?.(event));
    assert.deepEqual(given(claimDecider, released('a'), claimed('b')).state, { holder: 'b', since: at() });
  });
});
