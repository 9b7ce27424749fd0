import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreUnavailable } from '#commands/ports.ts';
import { discoveryEndpoints } from '#http/routes/discovery.ts';
import { memoryLog, post, serveApp } from '../support.ts';

test('what was discovered is told, and logged why, when none of it could be added', async (t) => {
  const { log, lines } = memoryLog();
  const vm = {
    ...{ id: 'vm-1', name: 'a', path: '/DC1/vm/a', powerState: 'poweredOn', guestOs: '', memoryMb: 1, cpuCount: 1 },
    ...{ vmxVersion: '', toolsVersion: '', disks: [], networks: [] },
  };
  const discovery = { vcenterHost: 'vc.example', datacenter: 'DC1', vms: [vm] };
  const endpoints = discoveryEndpoints({
    discoverVms: async () => ({ discovery, managed: new Map(), credentialId: null, tookMs: 3 }),
    addVms: () => Promise.reject(new StoreUnavailable('away')),
    clock: { now: () => '2026-01-02T03:04:05.000Z' },
    log,
    settled: async () => ({}),
  });
  const { url } = await serveApp(t, { endpoints });
  const login = { vcenter: 'vc.example', username: 'u', password: 'p', datacenter: 'DC1' };
  const reply = await fetch(`${url}/api/v1/discovery/discover-vms`, post({ ...login, create_context: true }));
  assert.equal(reply.status, 200);
  const { discovered_vms, ...rest } = (await reply.json()) as { discovered_vms: unknown[] };
  assert.equal(discovered_vms.length, 1);
  assert.deepEqual(rest, {
    ...{ discovery_count: 1, processing_time: 3_000_000, status: 'partial_success' },
    message: '1 virtual machine found; adding failed: The event store does not answer. Try again.',
  });
  assert.deepEqual(
    lines.map(({ level, message }) => [level, message]),
    [['error', 'adding discovered VMs failed']],
  );
  const failed = await fetch(`${url}/api/v1/discovery/add-vms`, post({ ...login, vm_names: ['a'] }));
  assert.equal(failed.status, 503);
});
