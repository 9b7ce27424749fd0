import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HttpApp } from './app.ts';

export type Listening = Readonly<{
  url: string;
  /** Takes no more requests, ends streams, lets the others finish for a while, then cuts. May be called twice. */
  close: () => Promise<void>;
}>;

export type ListenOptions = Readonly<{ host: string; port: number; graceMs?: number }>;

export const listen = async (app: HttpApp, { host, port, graceMs = 5_000 }: ListenOptions): Promise<Listening> => {
  // A client that sends its request a byte at a time is cut; replies may last as long as they need.
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 60_000, keepAliveTimeout: 60_000, connectionsCheckingInterval: 5_000 },
    app.express,
  );
  server.listen({ host, port });
  await once(server, 'listening');
  let closing: Promise<void> | undefined;
  return {
    url: urlOf(server.address() as AddressInfo),
    close: () => {
      closing ??= closeServer(server, app, graceMs);
      return closing;
    },
  };
};

const closeServer = async (server: Server, app: HttpApp, graceMs: number): Promise<void> => {
  const closed = once(server, 'close');
  // Connections that finish their request from now on have no reason to stay.
  server.prependListener('request', (_request, response) => response.setHeader('connection', 'close'));
  server.close();
  app.endStreams();
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
};

/** An address that a client on this host can use. */
const urlOf = ({ address, port, family }: AddressInfo): string => {
  if (address === '0.0.0.0' || address === '::') return `http://127.0.0.1:${port}`;
  return family === 'IPv6' ? `http://[${address}]:${port}` : `http://${address}:${port}`;
};
