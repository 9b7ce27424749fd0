import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { handle } from '#commands/handle.ts';
import { noEvents, StoreUnavailable } from '#commands/ports.ts';
import { claimDecider } from '#domain/claim/claim.ts';
import { batchMetrics, eventStoreMetrics, feedMetrics } from '#infra/metrics/event-store-metrics.ts';
import { createMetrics, type Metrics } from '#infra/metrics/registry.ts';
import { stepMetrics } from '#infra/metrics/step-metrics.ts';
import { observeFeed } from '#infra/observed/event-feed.ts';
import { observeEventStore } from '#infra/observed/event-store.ts';
import { createFakeEventStore } from '../../support/fake-event-store.ts';

const context = { actor: 'user:test', correlationId: 'c', commandId: 'command-1' };
const event = { type: 'Happened', data: { n: 1 } };

let metrics: Metrics;
beforeEach(() => {
  metrics = createMetrics({ log: { warn: () => undefined }, version: '1' });
});

const has = async (...lines: readonly string[]): Promise<void> => {
  const written = (await metrics.render('prometheus')).split('\n');
  for (const line of lines) {
    assert.ok(
      written.includes(line),
      `${line}\nis not among\n${written.filter((l) => l.startsWith(line.split('{')[0] ?? '')).join('\n')}`,
    );
  }
};

describe('the event store, watched', () => {
  test('is counted by what came of it, and behaves as before', async () => {
    const store = observeEventStore(createFakeEventStore(), eventStoreMetrics(metrics));
    await store.append('a-1', [event, event], noEvents, context);
    await assert.rejects(store.append('a-1', [event], noEvents, { ...context, commandId: 'command-2' }));
    assert.equal((await store.read('a-1')).events.length, 2);
    assert.equal((await Array.fromAsync(store.readBackwards('a-1'))).length, 2);
    assert.equal((await Array.fromAsync(store.readForwards('a-1', 1n))).length, 1);
    const operations = 'sendense_event_store_operations_total';
    await has(
      `${operations}{operation="append",outcome="done"} 1`,
      `${operations}{operation="append",outcome="conflict"} 1`,
      `${operations}{operation="append",outcome="unavailable"} 0`,
      `${operations}{operation="read",outcome="done"} 3`,
      'sendense_event_store_appended_events_total 2',
      'sendense_event_store_operation_duration_seconds_count{operation="append"} 2',
    );
  });

  test('that does not answer is counted as such', async () => {
    const broken = { ...createFakeEventStore(), append: () => Promise.reject(new StoreUnavailable('gone')) };
    const store = observeEventStore(broken, eventStoreMetrics(metrics));
    await assert.rejects(store.append('a-1', [event], noEvents, context), StoreUnavailable);
    await has('sendense_event_store_operations_total{operation="append",outcome="unavailable"} 1');
  });

  test('by two shows a command to both, the later one around the earlier', async () => {
    const seen: string[] = [];
    const watcher = (who: string) => ({
      ...eventStoreMetrics(createMetrics({ log: { warn: () => undefined }, version: '1' })),
      command: async <T>(facts: Readonly<{ name: string }>, work: () => Promise<T>): Promise<T> => {
        seen.push(`${who} ${facts.name}`);
        return work();
      },
    });
    const store = observeEventStore(observeEventStore(createFakeEventStore(), watcher('first')), watcher('second'));
    const target = { decider: claimDecider, stream: 'claim-vmName-a' };
    const data = { key: 'a', holder: 'vm-1', at: '2026-01-01T00:00:00.000Z' };
    const { events } = await handle(store, target, { type: 'ClaimName', data }, context);
    assert.equal(events.length, 1);
    assert.deepEqual(seen, ['second ClaimName', 'first ClaimName']);
  });
});

describe('the log, followed', () => {
  test('counts a subscription that its reader broke', async () => {
    const store = createFakeEventStore();
    await store.append('a-1', [event, event, event], noEvents, context);
    const feed = observeFeed(store.feed, 'read-model', feedMetrics(metrics));
    const failing = async (): Promise<void> => {
      for await (const _ of feed.subscribe(0n, {}, new AbortController().signal))
        throw new Error('the tables are gone');
    };
    await assert.rejects(failing(), /the tables are gone/);
    await has(
      'sendense_event_store_subscription_restarts_total{reader="read-model"} 1',
      'sendense_event_store_subscriptions{reader="read-model"} 0',
    );
  });

  test('does not count a subscription as broken that ends with its signal', async () => {
    const store = createFakeEventStore();
    const feed = observeFeed(store.feed, 'process-managers', feedMetrics(metrics));
    const stop = new AbortController();
    for await (const _ of feed.subscribe(0n, {}, stop.signal)) stop.abort();
    await has('sendense_event_store_subscription_restarts_total{reader="process-managers"} 0');
  });
});

describe('the batches of the read models', () => {
  test('are timed, and their events counted once they are in the tables', async () => {
    const store = createFakeEventStore();
    await store.append('a-1', [event, event, event], noEvents, context);
    const batches = batchMetrics(metrics);
    const batch = { events: store.log, position: 300n };
    await assert.rejects(
      batches.batch(batch, () => Promise.reject(new Error('no'))),
      /no/,
    );
    await batches.batch(batch, async () => undefined);
    await has('sendense_projection_events_applied_total 3', 'sendense_projection_batch_duration_seconds_count 1');
  });
});

describe('the steps of a process manager', () => {
  test('are timed, and counted when they fail', async () => {
    const steps = stepMetrics(metrics);
    const facts = { processManager: 'backup-runner', jobId: 'b-1', step: 'start-export' };
    assert.equal(await steps.step(facts, async () => 'done'), 'done');
    await assert.rejects(
      steps.step(facts, () => Promise.reject(new Error('no'))),
      /no/,
    );
    const labels = 'process_manager="backup-runner",step="start-export"';
    await has(
      `sendense_process_manager_step_failures_total{${labels}} 1`,
      `sendense_process_manager_step_duration_seconds_count{${labels}} 2`,
    );
  });
});
