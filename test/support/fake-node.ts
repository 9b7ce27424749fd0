import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type NodeRequest = Readonly<{ method: string; path: string; body: unknown }>;
/** Whether the client gives the connection up after this request. */
export type Connection = Readonly<{ closes: boolean }>;
type AnswerRequest = (request: NodeRequest, connection: Connection) => NodeReply;

/** What the fake answers with; the words stand for what a broken node does. */
export type NodeReply =
  | Readonly<{ status?: number; json: unknown }>
  | Readonly<{ status: number; text: string; headers?: Readonly<Record<string, string>> }>
  | 'silence'
  | 'endless'
  | 'stalls-in-the-body'
  | 'hangs-up'
  | 'no-http';

export type FakeNode = Readonly<{
  url: string;
  /** In the order of arrival. */
  requests: NodeRequest[];
  answerWith: (answer: AnswerRequest) => void;
  close: () => Promise<void>;
}>;

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  return text === '' ? undefined : JSON.parse(text);
};

const pour = (response: ServerResponse): void => {
  const chunk = Buffer.alloc(64 * 1024, ' ');
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more).on('error', () => undefined);
  more();
};

const send = (response: ServerResponse, reply: NodeReply): void => {
  if (reply === 'silence') return;
  if (reply === 'hangs-up') {
    response.socket?.destroy();
  } else if (reply === 'no-http') {
    response.socket?.end('SSH-2.0-OpenSSH_9.6\r\n\r\n');
  } else if (reply === 'endless') {
    pour(response.writeHead(200, { 'content-type': 'application/json' }));
  } else if (reply === 'stalls-in-the-body') {
    response.writeHead(200, { 'content-type': 'application/json' }).write('{"vcenter":');
  } else if ('json' in reply) {
    response.writeHead(reply.status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(reply.json));
  } else {
    response.writeHead(reply.status, { 'content-type': 'text/plain', ...reply.headers }).end(reply.text);
  }
};

/** A node appliance that says what a test wants it to say, on a free port of the loopback. */
export const startFakeNode = async (first: AnswerRequest): Promise<FakeNode> => {
  let answer = first;
  const requests: NodeRequest[] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '' } = request;
    const received = { method, path: url, body: await bodyOf(request) };
    requests.push(received);
    send(response, answer(received, { closes: request.headers.connection === 'close' }));
  };
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answerWith: (next) => {
      answer = next;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      if (server.listening) await once(server, 'close');
    },
  };
};
