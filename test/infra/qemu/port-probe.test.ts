import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { createPortProbe } from '#infra/qemu/port-probe.ts';

test('a port is taken while a program listens on it, also on all addresses, and free again afterwards', async () => {
  const probe = createPortProbe('127.0.0.1');
  for (const host of ['127.0.0.1', '0.0.0.0']) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    assert.equal(await probe.isFree(address.port), false);
    await new Promise((resolve) => server.close(resolve));
    assert.equal(await probe.isFree(address.port), true);
    assert.equal(await probe.isFree(address.port), true, 'the probe itself has let go');
  }
});

test('an address that this host does not have is an error, not a taken port', async () => {
  await assert.rejects(createPortProbe('192.0.2.1').isFree(10_100), /EADDRNOTAVAIL/);
});
