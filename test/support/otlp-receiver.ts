import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

type WireAttribute = Readonly<{
  key: string;
  value: Readonly<{ stringValue?: string; intValue?: number | string; boolValue?: boolean }>;
}>;

type WireSpan = Readonly<{
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes: readonly WireAttribute[];
  status: Readonly<{ code?: number; message?: string }>;
}>;

type WireTraces = Readonly<{
  resourceSpans: readonly Readonly<{
    resource: Readonly<{ attributes: readonly WireAttribute[] }>;
    scopeSpans: readonly Readonly<{ spans: readonly WireSpan[] }>[];
  }>[];
}>;

export type ReceivedSpan = Omit<WireSpan, 'attributes'> &
  Readonly<{ attributes: Readonly<Record<string, unknown>>; resource: Readonly<Record<string, unknown>> }>;

const recordOf = (attributes: readonly WireAttribute[]): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? value.boolValue ?? (value.intValue === undefined ? undefined : Number(value.intValue)),
    ]),
  );

const spansOf = ({ resourceSpans }: WireTraces): readonly ReceivedSpan[] =>
  resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        ...span,
        attributes: recordOf(span.attributes),
        resource: recordOf(resource.attributes),
      })),
    ),
  );

/** A trace collector that speaks OTLP over HTTP, in JSON, and keeps what it is sent. */
export const startOtlpReceiver = async () => {
  const spans: ReceivedSpan[] = [];
  const paths = new Set<string>();
  const receive = async (request: IncomingMessage): Promise<void> => {
    paths.add(`${request.method} ${request.url}`);
    spans.push(...spansOf((await json(request)) as WireTraces));
  };
  const server = createServer((request, response) => {
    receive(request).then(
      () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
      () => response.writeHead(400).end(),
    );
  });
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    paths,
    named: (name: string): readonly ReceivedSpan[] => spans.filter((span) => span.name === name),
    close: async (): Promise<void> => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
};

export type OtlpReceiver = Awaited<ReturnType<typeof startOtlpReceiver>>;
