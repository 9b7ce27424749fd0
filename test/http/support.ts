import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { TestContext } from 'node:test';
import { type AppDeps, createApp } from '#http/app.ts';
import { createAuthenticate } from '#http/auth.ts';
import type { Session, SessionStore } from '#http/auth-ports.ts';
import { type Listening, listen } from '#http/listen.ts';
import type { Log } from '#http/log.ts';
import { createSessions, type Sessions } from '#http/sessions.ts';

/** A logger that remembers its lines. */
export const memoryLog = () => {
  const lines: Readonly<{ level: string; fields: Record<string, unknown>; message: string }>[] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message });
  };
  const log: Log = { info: at('info'), warn: at('warn'), error: at('error') };
  return { log, lines };
};

export const memorySessions = () => {
  const open = new Map<string, Session>();
  let finds = 0;
  const store: SessionStore = {
    open: async ({ tokenSha256, ...session }) => {
      open.set(tokenSha256, session);
    },
    find: async (hash) => {
      finds += 1;
      return open.get(hash);
    },
    close: async (hash) => {
      open.delete(hash);
    },
  };
  return { store, open, finds: () => finds };
};

/** A clock that only moves when told to. */
export const manualClock = (start = '2026-01-02T03:04:05.000Z') => {
  let now = Date.parse(start);
  return {
    now: () => new Date(now).toISOString(),
    advance: (ms: number) => {
      now += ms;
    },
  };
};

export const sessionsFor = (ttlSeconds = 3_600): Sessions =>
  createSessions({ store: memorySessions().store, clock: manualClock(), ttlSeconds });

/** Everybody may: for tests whose subject is something else. */
export const openDoor = createAuthenticate({
  enabled: false,
  loopbackCallbacks: false,
  sessions: sessionsFor(),
  staticTokens: [],
  cors: [],
});

/** Serves on a free port until the test ends. */
export const serveApp = async (
  t: TestContext,
  deps: Partial<AppDeps> & Pick<AppDeps, 'endpoints'>,
  host = '127.0.0.1',
): Promise<Listening & Readonly<{ lines: ReturnType<typeof memoryLog>['lines'] }>> => {
  const { log, lines } = memoryLog();
  const app = createApp({ authenticate: openDoor, log, cors: [], ...deps });
  const server = await listen(app, { host, port: 0, graceMs: 200 });
  t.after(server.close);
  return { ...server, lines };
};

type Raw = Readonly<{ status: number; headers: IncomingMessage['headers']; text: string }>;

/** For what fetch does not let one send: any Host, any path, any header. */
export const rawRequest = async (
  url: string,
  { method = 'GET', path, headers }: Readonly<{ method?: string; path: string; headers?: Record<string, string> }>,
): Promise<Raw> => {
  const { hostname, port } = new URL(url);
  const sent = httpRequest({ hostname, port, method, path, headers: { connection: 'close', ...headers } });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode ?? 0, headers: response.headers, text };
};

/** Waits for a condition, not for a time. */
export const until = async (holds: () => boolean, what: string): Promise<void> => {
  const deadline = Date.now() + 5_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

export const post = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  body: typeof body === 'string' ? body : JSON.stringify(body),
  headers,
});
