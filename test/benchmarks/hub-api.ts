import { z } from 'zod';

const requestTimeoutMs = 120_000;

const Change = z.object({ job_id: z.string(), time: z.string() });
const Trail = z.object({
  events: z.array(z.object({ type: z.string(), time: z.string(), data: z.looseObject({ at: z.string().optional() }) })),
});

/** One event of a job: when it was recorded, and when what it tells had happened. */
export type JobEvent = Readonly<{ type: string; recordedAtMs: number; happenedAtMs: number }>;
export type JobChange = Readonly<{ type: string; jobId: string }>;

/** The hub's API as an administrator's program uses it. */
export type HubApi = Readonly<{
  call: <S extends z.ZodType>(route: string, body: object | undefined, reply: S) => Promise<z.output<S>>;
  /** The same call to another server; it gets the token too. */
  callAt: <S extends z.ZodType>(url: string, route: string, body: object | undefined, reply: S) => Promise<z.output<S>>;
  /** The audit trail of a job. */
  eventsOf: (jobId: string) => Promise<readonly JobEvent[]>;
  /** Changes of jobs from now on. */
  changes: (signal: AbortSignal) => Promise<AsyncIterable<JobChange>>;
}>;

const frames = async function* (body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = '';
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const parts = `${rest}${text}`.split('\n\n');
    rest = parts.pop() ?? '';
    yield* parts;
  }
};

const changesIn = async function* (body: ReadableStream<Uint8Array>): AsyncGenerator<JobChange> {
  for await (const frame of frames(body)) {
    const [, type] = /^event: (.*)$/m.exec(frame) ?? [];
    const [, data] = /^data: (.*)$/m.exec(frame) ?? [];
    if (type && data) yield { type, jobId: Change.parse(JSON.parse(data)).job_id };
  }
};

const trail = (reply: z.output<typeof Trail>): readonly JobEvent[] =>
  reply.events.map(({ type, time, data }) => ({
    ...{ type, recordedAtMs: Date.parse(time) },
    happenedAtMs: Date.parse(data.at ?? time),
  }));

const send = async (url: string, method: string, body: object | undefined, headers: Record<string, string>) =>
  fetch(url, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(requestTimeoutMs),
  });

/** Signs in; every request carries the token, as outside the benchmarks. */
export const openHubApi = async (hubUrl: string, password: string): Promise<HubApi> => {
  const root = `${hubUrl}/api/v1`;
  let headers: Record<string, string> = {};
  const callAt: HubApi['callAt'] = async (url, route, body, reply) => {
    const [method = 'GET', path = ''] = route.split(' ');
    const response = await send(`${url}/api/v1${path}`, method, body, headers);
    const text = await response.text();
    if (!response.ok) throw new Error(`${route} was answered ${response.status}: ${text.slice(0, 500)}`);
    return reply.parse(JSON.parse(text));
  };
  const call: HubApi['call'] = (route, body, reply) => callAt(hubUrl, route, body, reply);
  const login = { username: 'admin', password };
  const { session_token } = await call('POST /auth/login', login, z.object({ session_token: z.string() }));
  headers = { authorization: `Bearer ${session_token}` };
  return {
    call,
    callAt,
    eventsOf: async (jobId) => trail(await call(`GET /jobs/${jobId}/events`, undefined, Trail)),
    changes: async (signal) => {
      const response = await fetch(`${root}/events/stream`, { headers, signal });
      if (!response.ok || !response.body) throw new Error(`the event stream answered ${response.status}`);
      return changesIn(response.body);
    },
  };
};
