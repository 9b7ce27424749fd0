import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { createOpenExports } from '#commands/open-exports.ts';
import { httpMetrics } from '#infra/metrics/http-metrics.ts';
import { createMetrics, type Metrics } from '#infra/metrics/registry.ts';
import { addDiskRestoreMetrics, addExportMetrics } from '#infra/metrics/whole-disk-metrics.ts';

let metrics: Metrics;
beforeEach(() => {
  metrics = createMetrics({ log: { warn: () => undefined }, version: '1' });
});

const family = async (name: string): Promise<readonly string[]> =>
  (await metrics.render('prometheus')).split('\n').filter((line) => line.startsWith(name));

describe('the numbers of whole disks', () => {
  test('tell of every state that a restore can be in, also while none is', async () => {
    let counts: readonly { status: string; count: number }[] = [];
    addDiskRestoreMetrics(metrics, async () => counts);
    const name = 'sendense_restore_disks';
    const states = ['pending', 'running', 'completed', 'failed', 'cancelled'];
    assert.deepEqual(
      await family(name),
      states.map((state) => `${name}{state="${state}"} 0`),
    );
    counts = states.map((status, index) => ({ status, count: index + 1 }));
    assert.deepEqual(
      await family(name),
      states.map((state, index) => `${name}{state="${state}"} ${index + 1}`),
    );
  });

  test('are left out while the read model does not answer', async () => {
    addDiskRestoreMetrics(metrics, () => Promise.reject(new Error('down')));
    assert.deepEqual(await family('sendense_restore_disks'), []);
    assert.deepEqual(await family('sendense_scrape_error{'), ['sendense_scrape_error{source="disk-restores"} 1']);
  });

  test('tell how many are downloaded now, and how many may be', async () => {
    const exports = createOpenExports(3);
    addExportMetrics(metrics, exports);
    const ends = [0, 1].map((diskIndex) => exports.begin({ backupId: 'backup-a-1', diskIndex }));
    const shown = (open: number) => [`sendense_restore_exports_open ${open}`, 'sendense_restore_exports_limit 3'];
    assert.deepEqual(await family('sendense_restore_exports'), shown(2));
    for (const end of ends) end();
    assert.deepEqual(await family('sendense_restore_exports'), shown(0));
  });

  test('count what left by each route', async () => {
    const { observe } = httpMetrics(metrics);
    const ended = { method: 'GET', route: '/api/v1/x', status: 200, durationMs: 1, streamed: true };
    for (const sentBytes of [1_000, 0, 24]) observe({}, () => undefined)({ ...ended, sentBytes });
    const [line] = await family('sendense_http_response_bytes_total');
    assert.equal(line, 'sendense_http_response_bytes_total{method="GET",route="/api/v1/x"} 1024');
  });
});
