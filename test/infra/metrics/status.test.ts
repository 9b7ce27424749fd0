import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createMetrics } from '#infra/metrics/registry.ts';
import { addLogMetrics, addParkedMetrics } from '#infra/metrics/status-metrics.ts';
import { sweepMetrics } from '#infra/metrics/sweep-metrics.ts';

const make = () => createMetrics({ log: { warn: () => undefined }, version: '1' });

const valueIn = (text: string, series: string): number | undefined => {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
};

describe('the numbers of the log', () => {
  const lagSeconds = 'sendense_projection_lag_seconds{projection="backups.v1"}';

  test('tell how far the read models are behind, and for how long, not how old the last event is', async () => {
    const metrics = make();
    const dayAgo = new Date(Date.now() - 86_400_000).toISOString();
    const status = { names: ['backups.v1'], running: true, appliedEventAt: dayAgo };
    let head = 10n;
    addLogMetrics(metrics, { head: async () => head, projections: () => ({ ...status, position: 10n }) });
    const level = await metrics.render('prometheus');
    assert.equal(valueIn(level, 'sendense_projection_lag_events{projection="backups.v1"}'), 0);
    assert.equal(valueIn(level, lagSeconds), 0);
    head = 14n;
    const behind = await metrics.render('prometheus');
    assert.equal(valueIn(behind, 'sendense_projection_lag_events{projection="backups.v1"}'), 4);
    const seconds = valueIn(behind, lagSeconds);
    assert.ok(seconds !== undefined && seconds >= 0 && seconds < 60, String(seconds));
  });

  test('tell the age of the last applied event where the read models were never seen level', async () => {
    const metrics = make();
    const appliedEventAt = new Date(Date.now() - 3_600_000).toISOString();
    const status = { names: ['backups.v1'], running: false, position: 2n, appliedEventAt };
    addLogMetrics(metrics, { head: async () => 10n, projections: () => status });
    const text = await metrics.render('prometheus');
    assert.ok(Math.abs((valueIn(text, lagSeconds) ?? 0) - 3_600) < 60);
    assert.equal(valueIn(text, 'sendense_projection_running{projection="backups.v1"}'), 0);
  });

  test('say that the event store is down, and leave out what only it could tell', async () => {
    const metrics = make();
    const status = { names: ['backups.v1'], running: true, position: 2n, appliedEventAt: null };
    const head = () => Promise.reject(new Error('gone'));
    addLogMetrics(metrics, { head, projections: () => status });
    const text = await metrics.render('prometheus');
    assert.equal(valueIn(text, 'sendense_event_store_up'), 0);
    assert.equal(valueIn(text, 'sendense_event_store_head_position'), undefined);
    assert.equal(valueIn(text, lagSeconds), undefined);
    assert.equal(valueIn(text, 'sendense_projection_running{projection="backups.v1"}'), 1);
  });
});

test('parked streams are counted for each projection', async () => {
  const metrics = make();
  addParkedMetrics(metrics, async () => new Map(Object.entries({ 'backups.v1': 2, 'nbd.v1': 0 })));
  const text = await metrics.render('prometheus');
  assert.equal(valueIn(text, 'sendense_projection_parked_streams{projection="backups.v1"}'), 2);
  assert.equal(valueIn(text, 'sendense_projection_parked_streams{projection="nbd.v1"}'), 0);
});

test('a sweep tells when it last ended well, and counts the times that it did not', async (t) => {
  const metrics = make();
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  let fails = true;
  const work = sweepMetrics(metrics).watch({ name: 'audit anchors', seconds: 300 }, async () => {
    if (fails) throw new Error('no room');
  });
  t.mock.timers.setTime(2_000_000);
  await assert.rejects(work(), /no room/);
  const failed = await metrics.render('prometheus');
  const success = 'sendense_sweep_last_success_timestamp_seconds{sweep="audit anchors"}';
  assert.equal(valueIn(failed, success), 1_000);
  assert.equal(valueIn(failed, 'sendense_sweep_failures_total{sweep="audit anchors"}'), 1);
  assert.equal(valueIn(failed, 'sendense_sweep_interval_seconds{sweep="audit anchors"}'), 300);
  fails = false;
  await work();
  assert.equal(valueIn(await metrics.render('prometheus'), success), 2_000);
});
