import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { handle } from '#commands/handle.ts';
import { noEvents } from '#commands/ports.ts';
import { claimDecider } from '#domain/claim/claim.ts';
import { observeEventStore } from '#infra/observed/event-store.ts';
import { createTracing, type Tracing } from '#infra/tracing/tracing.ts';
import { createWatcher } from '#infra/tracing/watcher.ts';
import { createFakeEventStore } from '../../support/fake-event-store.ts';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../../support/otlp-receiver.ts';

const context = { actor: 'user:test', correlationId: 'backup-a-1', commandId: 'command-1' };
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';

const memoryLog = () => {
  const lines: string[] = [];
  const write = (_fields: object, message: string) => void lines.push(message);
  return { lines, info: write, warn: write };
};

let receiver: OtlpReceiver;
let tracing: Tracing;
let watch: ReturnType<typeof createWatcher>;

before(async () => {
  receiver = await startOtlpReceiver();
});
after(() => receiver.close());
beforeEach(() => {
  receiver.spans.length = 0;
  tracing = createTracing({ endpoint: `${receiver.url}/`, version: '1.2.3', instance: 'hub-1', log: memoryLog() });
  watch = createWatcher(tracing.spans);
});

/** Everything sent is here once tracing has stopped. */
const sent = async (): Promise<readonly ReceivedSpan[]> => {
  await tracing.stop();
  return receiver.spans;
};

const only = (spans: readonly ReceivedSpan[], name: string): ReceivedSpan => {
  const found = spans.filter((span) => span.name === name);
  assert.equal(found.length, 1, `${name} among ${spans.map((span) => span.name).join(', ')}`);
  return found[0] as ReceivedSpan;
};

type Begun = Parameters<typeof watch.watcher.requests.observe>[0];

const request = (headers: Readonly<Record<string, string>> = {}) => {
  const reply = new Map<string, string>();
  const begun: Begun = {
    ...{ method: 'POST', requestId: 'request-1', header: (name) => headers[name] },
    setHeader: (name, value) => void reply.set(name, value),
  };
  return { begun, reply };
};

const ended = { method: 'POST', route: '/api/v1/things', status: 201, actor: 'user:admin', errorCode: undefined };

describe('a request', () => {
  test('becomes a span below that of its caller, with the commands and appends that it led to below it', async () => {
    const { begun, reply } = request({ traceparent: `00-${traceId}-${spanId}-01`, tracestate: 'vendor=1' });
    const store = observeEventStore(createFakeEventStore(), watch.watcher.eventStore);
    const data = { key: 'a', holder: 'vm-1', at: '2026-01-01T00:00:00.000Z' };
    const target = { decider: claimDecider, stream: 'claim-vmName-a' };
    let done: Promise<unknown> = Promise.resolve();
    const end = watch.watcher.requests.observe(begun, () => {
      done = handle(store, target, { type: 'ClaimName', data }, context);
    });
    await done;
    end(ended);
    const spans = await sent();
    const server = only(spans, 'POST /api/v1/things');
    assert.deepEqual([server.traceId, server.parentSpanId, server.kind], [traceId, spanId, 2]);
    assert.deepEqual(server.attributes, {
      'http.request.method': 'POST',
      'sendense.request_id': 'request-1',
      'http.route': '/api/v1/things',
      'http.response.status_code': 201,
      'sendense.actor': 'user:admin',
    });
    assert.deepEqual(
      [reply.get('traceparent'), reply.get('tracestate')],
      [`00-${traceId}-${server.spanId}-01`, 'vendor=1'],
    );
    const command = only(spans, 'command ClaimName');
    assert.deepEqual([command.traceId, command.parentSpanId], [traceId, server.spanId]);
    assert.deepEqual(command.attributes, {
      'sendense.command': 'ClaimName',
      'sendense.stream': 'claim-vmName-a',
      'sendense.correlation_id': 'backup-a-1',
      'sendense.actor': 'user:test',
      'sendense.events': 1,
    });
    for (const name of ['event store read', 'event store append']) {
      assert.equal(only(spans, name).parentSpanId, command.spanId, name);
    }
    assert.equal(server.resource['service.name'], 'sendense-hub');
    assert.equal(server.resource['service.version'], '1.2.3');
    assert.deepEqual([...receiver.paths], ['POST /v1/traces']);
  });

  for (const traceparent of ['', 'garbage', `00-${'0'.repeat(32)}-${spanId}-01`, `ff-${traceId}-${spanId}-01`]) {
    test(`begins a trace of its own when its caller sends ${traceparent || 'nothing'}`, async () => {
      const { begun } = request({ traceparent });
      watch.watcher.requests.observe(begun, () => undefined)({ ...ended, status: 503, errorCode: 'store-unavailable' });
      const server = only(await sent(), 'POST /api/v1/things');
      assert.notEqual(server.traceId, traceId);
      assert.equal(server.parentSpanId ?? '', '');
      assert.equal(server.status.code, 2);
      assert.equal(server.attributes['error.type'], 'store-unavailable');
    });
  }

  test('makes no spans when its caller decided that the trace is not recorded', async () => {
    const { begun, reply } = request({ traceparent: `00-${traceId}-${spanId}-00` });
    watch.watcher.requests.observe(begun, () => undefined)(ended);
    assert.deepEqual(await sent(), []);
    assert.match(reply.get('traceparent') ?? '', new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  });
});

describe('the work of the hub', () => {
  test('is found by its correlation id: a step, what it appends, and why it failed', async () => {
    const store = observeEventStore(createFakeEventStore(), watch.watcher.eventStore);
    const event = { type: 'Happened', data: {} };
    const facts = { processManager: 'backup-runner', jobId: 'backup-a-1', step: 'start-export' };
    const failing = watch.watcher.steps.step(facts, async () => {
      await store.append('backup-a-1', [event, event], noEvents, context);
      throw new TypeError('the port is taken');
    });
    await assert.rejects(failing, /the port is taken/);
    const spans = await sent();
    const step = only(spans, 'backup-runner start-export');
    assert.deepEqual([step.status.code, step.status.message], [2, 'the port is taken']);
    assert.deepEqual(step.attributes, {
      'sendense.process_manager': 'backup-runner',
      'sendense.step': 'start-export',
      'sendense.correlation_id': 'backup-a-1',
      'error.type': 'TypeError',
    });
    const append = only(spans, 'event store append');
    assert.equal(append.parentSpanId, step.spanId);
    assert.equal(append.attributes['sendense.events'], 2);
    assert.equal(append.attributes['sendense.correlation_id'], 'backup-a-1');
  });

  test('shows each batch that the read models apply, and whether it failed', async () => {
    const { batches } = watch.watcher;
    await batches.batch({ events: [], position: 7n }, async () => undefined);
    const failing = () => batches.batch({ events: [], position: 8n }, () => Promise.reject(new Error('no')));
    await assert.rejects(failing, /no/);
    const seen = (await sent()).filter(({ name }) => name === 'projection batch');
    assert.deepEqual(
      seen.map(({ attributes, status }) => [attributes['sendense.position'], status.code]),
      [
        ['7', 0],
        ['8', 2],
      ],
    );
  });

  test('tells a node appliance which span its call belongs to', async (t) => {
    const seen: (string | undefined)[] = [];
    const node = createServer(({ headers }, response) => {
      seen.push(headers.traceparent as string | undefined, headers['content-type']);
      response.writeHead(503).end();
    }).listen(0, '127.0.0.1');
    await once(node, 'listening');
    t.after(() => node.close());
    const url = `http://127.0.0.1:${(node.address() as AddressInfo).port}/api/v1/backup/start`;
    const headers = { 'content-type': 'application/json', connection: 'close' };
    const response = await watch.fetch(url, { method: 'POST', headers, body: '{}' });
    assert.equal(response.status, 503);
    const call = only(await sent(), 'node POST');
    assert.deepEqual(seen, [`00-${call.traceId}-${call.spanId}-01`, 'application/json']);
    assert.equal(call.attributes['url.path'], '/api/v1/backup/start');
    assert.equal(call.status.code, 2);
  });
});

test('a collector that is away is told once, and neither fails the work nor holds up the stop', async () => {
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port } = gone.address() as AddressInfo;
  gone.close();
  const log = memoryLog();
  const dead = createTracing({ endpoint: `http://127.0.0.1:${port}`, version: '1', instance: 'hub-1', log });
  // More than one export's worth.
  for (let index = 0; index < 1_100; index += 1) {
    assert.equal(await dead.spans.run({ name: 'work', attributes: {} }, async () => index), index);
  }
  const startedAtMs = performance.now();
  await dead.stop();
  assert.ok(performance.now() - startedAtMs < 6_000);
  assert.deepEqual(log.lines, ['the trace collector does not take spans']);
});
