import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type SessionCommand, sessionDecider } from '#domain/session/decide.ts';
import type { SessionEvent } from '#domain/session/events.ts';
import { given } from '../../support/given.ts';

const at = '2026-01-02T03:04:05.000Z';
const expiresAt = '2026-01-03T03:04:05.000Z';

const open = (subject = 'user:admin', until = expiresAt): SessionCommand => ({
  type: 'OpenSession',
  data: { subject, expiresAt: until, at },
});
const close: SessionCommand = { type: 'CloseSession', data: { at } };

const opened: SessionEvent = { type: 'SessionOpened', data: { subject: 'user:admin', expiresAt, at } };
const closed: SessionEvent = { type: 'SessionClosed', data: { at } };

describe('opening a session', () => {
  test('records whose it is and when it ends', () => given(sessionDecider).when(open()).thenEvents(opened));

  test('does nothing when it is repeated', () => given(sessionDecider, opened).when(open()).thenNothing());

  test('is refused for a token that is somebody else’s', () => {
    given(sessionDecider, opened).when(open('node:sna-1')).thenRefused('invalid-request');
  });

  test('is refused for the same subject with another end', () => {
    given(sessionDecider, opened).when(open('user:admin', '2027-01-01T00:00:00.000Z')).thenRefused('invalid-request');
  });

  test('is refused for a token whose session was closed', () => {
    given(sessionDecider, opened, closed).when(open()).thenRefused('invalid-request');
  });

  test('is refused when it would end before it begins', () => {
    given(sessionDecider).when(open('user:admin', at)).thenRefused('invalid-request');
  });
});

describe('closing a session', () => {
  test('ends it', () => given(sessionDecider, opened).when(close).thenEvents(closed));

  test('does nothing when it is closed already', () => given(sessionDecider, opened, closed).when(close).thenNothing());

  test('does nothing when it was never opened', () => given(sessionDecider).when(close).thenNothing());
});

test('a history tells whose session it is, and that it is over', () => {
  assert.deepEqual(given(sessionDecider, opened).state, { status: 'open', subject: 'user:admin', expiresAt });
  assert.deepEqual(given(sessionDecider, opened, closed).state, { status: 'closed' });
});
