import {
  type Attributes,
  type Context,
  type ContextManager,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { ATTR_ERROR_TYPE } from '@opentelemetry/semantic-conventions';

export type SpanStart = Readonly<{ name: string; kind?: SpanKind; attributes: Attributes }>;

export interface Spans {
  /** Runs `work` in a span below the one that is active; an error that it throws marks the span and passes. */
  run<T>(start: SpanStart, work: (span: Span) => Promise<T>): Promise<T>;
  /** Begins one below `parent`, which whoever began it has to end. */
  begin(start: SpanStart, parent: Context): Span;
  /** What `work` starts is below the span. */
  within(span: Span, work: () => void): void;
}

/** Enough to search for: a refusal's code where it has one, else the kind of error. */
const errorType = (error: unknown): string => {
  if (!(error instanceof Error)) return typeof error;
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
};

export const markFailed = (span: Span, error: unknown): void => {
  span.setAttribute(ATTR_ERROR_TYPE, errorType(error));
  span.setStatus({ code: SpanStatusCode.ERROR, ...(error instanceof Error ? { message: error.message } : {}) });
};

export const createSpans = (tracer: Tracer, contexts: ContextManager): Spans => {
  const begin: Spans['begin'] = ({ name, kind = SpanKind.INTERNAL, attributes }, parent) =>
    tracer.startSpan(name, { kind, attributes }, parent);
  return {
    begin,
    within: (span, work) => contexts.with(trace.setSpan(ROOT_CONTEXT, span), work),
    run: async (start, work) => {
      const parent = contexts.active();
      const span = begin(start, parent);
      try {
        return await contexts.with(trace.setSpan(parent, span), () => work(span));
      } catch (error) {
        markFailed(span, error);
        throw error;
      } finally {
        span.end();
      }
    },
  };
};
