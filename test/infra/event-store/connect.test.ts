import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { EventStoreDBClient } from '@eventstore/db-client';
import { ConfigError } from '#infra/config.ts';
import { connectEventStore } from '#infra/event-store/connect.ts';

const secret = 'pass-phrase';

for (const [what, connectionString] of Object.entries({
  'a broken one': `esdb://admin:${secret}@?tls=true`,
  'a password with special characters': `esdb://admin:${secret}$?x@host:2113?tls=true`,
  'an unknown option': `esdb://admin:${secret}@host:2113?tlsCaPath=/x`,
  'a certificate that is not to be verified': `esdb://admin:${secret}@host:2113?tls=true&tlsVerifyCert=false`,
})) {
  test(`${what} is refused without repeating the password, on the console neither`, (t) => {
    const warn = t.mock.method(console, 'warn', () => undefined);
    assert.throws(
      () => connectEventStore(connectionString),
      (error) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, /^SENDENSE_EVENTSTORE/);
        assert.ok(!inspect(error, { depth: 5, showHidden: true }).includes(secret));
        return true;
      },
    );
    assert.equal(warn.mock.callCount(), 0);
  });
}

test('one with credentials and options is accepted', async () => {
  const client = connectEventStore(
    `esdb://hub:${encodeURIComponent('a/b@c')}@host-1:2113,host-2:2113?tls=true&maxDiscoverAttempts=3`,
  );
  assert.ok(client instanceof EventStoreDBClient);
  await client.dispose();
});
