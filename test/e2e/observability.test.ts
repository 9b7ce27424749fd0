import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';
import { World } from '../support/world.ts';

const root = resolve(import.meta.dirname, '../..');
let receiver: OtlpReceiver;
let world: World;
let backupId: string;

before(async () => {
  receiver = await startOtlpReceiver();
  const settings = {
    ...{ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '100' },
    SENDENSE_EVENT_EXPORT_REPOSITORY: 'primary',
  };
  world = await World.open({ settings });
  for (const type of ['full', 'full'] as const) {
    backupId = (await world.start(type)).backup_id;
    await world.ended(backupId);
  }
});
after(async () => {
  await world.close();
  await receiver.close();
});

const scrape = async (headers: Record<string, string> = {}): Promise<string> => {
  const reply = await fetch(`${world.hub.url}/metrics`, { headers });
  assert.equal(reply.status, 200);
  return reply.text();
};

const sampleOf = (text: string, series: string): number => {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  assert.ok(line, `${series} is not in\n${text}`);
  return Number(line.slice(series.length + 1));
};

/** Every name in an expression that is a metric's: names of labels are none. */
const metricsIn = (expression: string): readonly string[] =>
  expression.replaceAll(/\{[^}]*\}|\b(?:by|on) \([^)]*\)/g, '').match(/\b(?:sendense|nodejs|process)_[a-z0-9_]+/g) ??
  [];

/** The expressions of a YAML file of rules: on one line, or folded over the next ones. */
const expressionsOfRules = (yaml: string): readonly string[] =>
  [...yaml.matchAll(/^ {8}expr: (?:>-\n((?: {10}.*\n)+)|(.+)\n)/gm)].map(([, folded, plain]) => folded ?? plain ?? '');

type Panel = Readonly<{ targets?: readonly Readonly<{ expr: string }>[] }>;

describe('the metrics of a hub that works', () => {
  test('tell of its backups, its ports, its stores and its requests', async () => {
    const text = await eventually('the last backup is counted', async () => {
      const now = await scrape();
      const finished = 'sendense_backups_finished_total{type="full",outcome="completed"}';
      return sampleOf(now, finished) === 2 ? now : undefined;
    });
    assert.equal(sampleOf(text, 'sendense_backup_jobs{type="full",state="completed"}'), 2);
    assert.equal(sampleOf(text, 'sendense_backup_duration_seconds_count{type="full",outcome="completed"}'), 2);
    assert.ok(sampleOf(text, 'sendense_backup_transferred_bytes_total{type="full"}') > 1e6);
    assert.equal(sampleOf(text, 'sendense_nbd_ports_capacity'), 20);
    assert.equal(sampleOf(text, 'sendense_event_store_up'), 1);
    assert.equal(sampleOf(text, 'sendense_database_up'), 1);
    assert.ok(sampleOf(text, 'sendense_event_store_size_bytes') > 0);
    assert.ok(sampleOf(text, 'sendense_event_store_head_position') > 0);
    assert.ok(sampleOf(text, 'sendense_projection_events_applied_total') > 50);
    assert.ok(sampleOf(text, 'sendense_event_store_operations_total{operation="append",outcome="done"}') > 10);
    assert.equal(sampleOf(text, 'sendense_http_requests_total{method="POST",route="/api/v1/backups",status="200"}'), 2);
    const success = /^sendense_backup_last_success_timestamp_seconds\{.*vm_name="pgtest1"\} (\S+)$/m.exec(text)?.[1];
    assert.ok(Math.abs(Number(success) - Date.now() / 1000) < 120, success);
    assert.match(text, /^sendense_repository_available_bytes\{.*repository="primary"\} [1-9]/m);
    assert.doesNotMatch(text, /^sendense_scrape_error\{.*\} 1$/m);
  });

  test('have units, help and a type each, and are the same numbers in OpenMetrics', async () => {
    const [plain, open] = [await scrape(), await scrape({ accept: 'application/openmetrics-text' })];
    const typed = [...plain.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
    for (const [, name = '', type] of typed.filter(([, name]) => name?.startsWith('sendense_'))) {
      assert.match(plain, new RegExp(`^# HELP ${name} \\S`, 'm'));
      assert.equal(name.endsWith('_total'), type === 'counter', `${name} is a ${type}`);
      assert.doesNotMatch(name, /_(ms|milliseconds|mb|kb|minutes|percent)(_|$)/, name);
    }
    assert.equal([...open.matchAll(/^# TYPE /gm)].length, typed.length);
    assert.ok(open.endsWith('# EOF\n'));
  });

  test('include every one that the shipped alert rules and the dashboard name', async () => {
    const rules = expressionsOfRules(await readFile(`${root}/ops/prometheus/alerts.yml`, 'utf8'));
    const board = JSON.parse(await readFile(`${root}/ops/grafana/sendense-hub.json`, 'utf8')) as { panels: Panel[] };
    const queries = board.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    assert.ok(rules.length > 20 && queries.length > 40, `${rules.length} rules, ${queries.length} queries`);
    const named = new Set([...rules, ...queries].flatMap(metricsIn));
    const samples = new Set([...(await scrape()).matchAll(/^([a-z_0-9]+)[{ ]/gm)].map(([, name]) => name));
    assert.deepEqual(
      [...named].filter((name) => !samples.has(name)),
      [],
    );
    const sweeps = [...rules.join('\n').matchAll(/sweep="([^"]+)"/g)].map(([, name]) => name);
    const text = await scrape();
    for (const name of sweeps) assert.ok(text.includes(`sendense_sweep_interval_seconds{sweep="${name}"}`), name);
  });
});

describe('the traces of a hub that works', () => {
  test('lead from the request of a backup to its command, and by the correlation id to all its steps', async () => {
    const request = await eventually('the request arrived', () => receiver.named('POST /api/v1/backups').at(-1));
    const commands = receiver.spans.filter(
      ({ attributes, traceId }) => attributes['sendense.command'] && traceId === request.traceId,
    );
    assert.ok(commands.some(({ attributes }) => attributes['sendense.correlation_id'] === backupId));
    const ofJob = await eventually('the last step arrived', () => {
      const found = receiver.spans.filter(({ attributes }) => attributes['sendense.correlation_id'] === backupId);
      return found.some(({ name }) => name === 'backup-runner close') ? found : undefined;
    });
    const steps = new Set(ofJob.map(({ attributes }) => attributes['sendense.step']).filter((step) => step));
    for (const step of [
      'assign-ports',
      'create-image',
      'start-export',
      'request-transfer',
      'stop-export',
      'complete',
    ]) {
      assert.ok(steps.has(step), `${step} among ${[...steps].join()}`);
    }
    const transfer = ofJob.find(({ attributes }) => attributes['sendense.step'] === 'request-transfer');
    const call = receiver.named('node POST').find(({ parentSpanId }) => parentSpanId === transfer?.spanId);
    assert.equal(call?.attributes['url.path'], '/api/v1/backup/start');
    assert.ok(receiver.named('projection batch').length > 0);
  });

  test('are all sent when the hub stops, after a restart too', async () => {
    await world.stopHub();
    receiver.spans.length = 0;
    await world.startHub({ OTEL_BSP_SCHEDULE_DELAY: '600000' });
    await fetch(`${world.hub.url}/health`, { headers: { 'x-request-id': 'the-last-request' } });
    assert.deepEqual(receiver.spans, []);
    await world.stopHub();
    const last = receiver.named('GET /health').map(({ attributes }) => attributes['sendense.request_id']);
    assert.ok(last.includes('the-last-request'));
  });

  test('hold no secret', () => {
    const text = JSON.stringify(receiver.spans);
    assert.doesNotMatch(text, /lab-password|correct horse/);
  });
});
