import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import { ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions';
import { createSpans, type Spans } from './spans.ts';

type Log = Readonly<{
  info: (fields: object, message: string) => void;
  warn: (fields: object, message: string) => void;
}>;

export type TracingOptions = Readonly<{
  /** Of the collector, OTLP over HTTP; `/v1/traces` is added. */
  endpoint: string;
  version: string;
  /** Tells hubs apart. */
  instance: string;
  log: Log;
}>;

export type Tracing = Readonly<{ spans: Spans; stop: () => Promise<void> }>;

// Spans are worth no more than that, also at the stop: what a collector does not take is dropped.
const exportTimeoutMs = 3_000;

/** A collector that is away is told once, and once that it is back; the library would be silent or tell each batch. */
const tellingOnce = (exporter: SpanExporter, log: Log): SpanExporter => {
  let away = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.error && !away) log.warn({ err: result.error }, 'the trace collector does not take spans');
        if (!result.error && away) log.info({}, 'the trace collector takes spans again');
        away = result.error !== undefined;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
};

/**
 * Makes spans and hands them to a collector in the background. Settings other than the endpoint are those of OpenTelemetry:
 * headers, sampler, queue, service name. Nothing is registered for the whole process: hubs side by side do not mix.
 */
export const createTracing = ({ endpoint, version, instance, log }: TracingOptions): Tracing => {
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`;
  const exporter = tellingOnce(new OTLPTraceExporter({ url, timeoutMillis: exportTimeoutMs }), log);
  const own = resourceFromAttributes({
    [ATTR_SERVICE_NAME]: 'sendense-hub',
    [ATTR_SERVICE_VERSION]: version,
    'service.instance.id': instance,
  });
  const provider = new BasicTracerProvider({
    resource: own.merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const contexts = new AsyncLocalStorageContextManager().enable();
  return {
    spans: createSpans(provider.getTracer('sendense-hub', version), contexts),
    stop: async () => {
      // What could not be sent was told by the exporter; a stop does not fail for it.
      await provider.shutdown().catch(() => undefined);
      contexts.disable();
    },
  };
};
