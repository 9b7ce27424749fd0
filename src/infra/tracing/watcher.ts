import { type Attributes, ROOT_CONTEXT, SpanKind, SpanStatusCode } from '@opentelemetry/api';
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_SERVER_ADDRESS,
  ATTR_URL_PATH,
} from '@opentelemetry/semantic-conventions';
import type { CommandContext } from '#commands/ports.ts';
import type { StepObserver } from '#process-managers/ports.ts';
import type { BatchObserver } from '#projections/ports.ts';
import type { EventStoreObserver } from '../observed/event-store.ts';
import type { Fetch } from '../sna-request.ts';
import type { Spans } from './spans.ts';
import { contextFrom, headersOf } from './trace-context.ts';

/** Attributes of our own. By the correlation id all traces of one job are found, those after a restart too. */
const attribute = {
  correlationId: 'sendense.correlation_id',
  requestId: 'sendense.request_id',
  actor: 'sendense.actor',
  command: 'sendense.command',
  stream: 'sendense.stream',
  events: 'sendense.events',
  processManager: 'sendense.process_manager',
  step: 'sendense.step',
  position: 'sendense.position',
} as const;

const ofContext = ({ correlationId, actor }: CommandContext): Attributes => ({
  [attribute.correlationId]: correlationId,
  [attribute.actor]: actor,
});

type BegunRequest = Readonly<{
  method: string;
  requestId: string;
  header: (name: string) => string | undefined;
  setHeader: (name: string, value: string) => void;
}>;

type EndedRequest = Readonly<{
  method: string;
  route: string;
  status: number;
  actor: string | undefined;
  errorCode: string | undefined;
}>;

/** One span a request, below the caller's if it sent one; the reply names it. */
const requestSpans = (spans: Spans) => ({
  observe: ({ method, requestId, header, setHeader }: BegunRequest, run: () => void) => {
    const attributes = { [ATTR_HTTP_REQUEST_METHOD]: method, [attribute.requestId]: requestId };
    const parent = contextFrom(header('traceparent'), header('tracestate'));
    const span = spans.begin({ name: method, kind: SpanKind.SERVER, attributes }, parent);
    for (const [name, value] of Object.entries(headersOf(span.spanContext()))) setHeader(name, value);
    spans.within(span, run);
    return ({ route, status, actor, errorCode }: EndedRequest): void => {
      span.updateName(`${method} ${route}`);
      span.setAttributes({ [ATTR_HTTP_ROUTE]: route, [ATTR_HTTP_RESPONSE_STATUS_CODE]: status });
      if (actor !== undefined) span.setAttribute(attribute.actor, actor);
      if (errorCode !== undefined) span.setAttribute(ATTR_ERROR_TYPE, errorCode);
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    };
  },
});

const eventStoreSpans = (spans: Spans): EventStoreObserver => ({
  command: ({ name, stream, context }, work) => {
    const attributes = { [attribute.command]: name, [attribute.stream]: stream, ...ofContext(context) };
    return spans.run({ name: `command ${name}`, attributes }, async (span) => {
      const result = await work();
      span.setAttribute(attribute.events, result.events.length);
      return result;
    });
  },
  append: ({ stream, events, context }, work) => {
    const attributes = { [attribute.stream]: stream, [attribute.events]: events.length, ...ofContext(context) };
    return spans.run({ name: 'event store append', kind: SpanKind.CLIENT, attributes }, work);
  },
  read: (stream, work) => {
    const attributes = { [attribute.stream]: stream };
    return spans.run({ name: 'event store read', kind: SpanKind.CLIENT, attributes }, work);
  },
});

const batchSpans = (spans: Spans): BatchObserver => ({
  batch: async ({ events, position }, apply) => {
    const attributes = { [attribute.events]: events.length, [attribute.position]: String(position) };
    const span = spans.begin({ name: 'projection batch', kind: SpanKind.CONSUMER, attributes }, ROOT_CONTEXT);
    try {
      await apply();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  },
});

const stepSpans = (spans: Spans): StepObserver => ({
  step: ({ processManager, jobId, step }, work) => {
    const attributes = {
      ...{ [attribute.processManager]: processManager, [attribute.step]: step, [attribute.correlationId]: jobId },
    };
    return spans.run({ name: `${processManager} ${step}`, attributes }, work);
  },
});

/** A call to a node appliance, which is told the span that it belongs to. */
const nodeCalls =
  (spans: Spans): Fetch =>
  (url, init) => {
    const { hostname, pathname } = new URL(url);
    const { method } = init;
    const attributes = {
      ...{ [ATTR_HTTP_REQUEST_METHOD]: method, [ATTR_SERVER_ADDRESS]: hostname, [ATTR_URL_PATH]: pathname },
    };
    return spans.run({ name: `node ${method}`, kind: SpanKind.CLIENT, attributes }, async (span) => {
      const headers = new Headers(init.headers);
      for (const [name, value] of Object.entries(headersOf(span.spanContext()))) headers.set(name, value);
      const response = await fetch(url, { ...init, headers });
      span.setAttribute(ATTR_HTTP_RESPONSE_STATUS_CODE, response.status);
      if (response.status >= 400) span.setStatus({ code: SpanStatusCode.ERROR });
      return response;
    });
  };

/** Makes spans of what happens at the ports. */
export const createWatcher = (spans: Spans) => ({
  watcher: {
    requests: requestSpans(spans),
    eventStore: eventStoreSpans(spans),
    batches: batchSpans(spans),
    steps: stepSpans(spans),
  },
  fetch: nodeCalls(spans),
});
