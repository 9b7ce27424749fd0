import { z } from 'zod';

/** The hub's HTTP API, as any client would use it. Replies are read as far as the schema goes. */
export type Api = Readonly<{
  get: <S extends z.ZodType>(path: string, schema: S) => Promise<z.output<S>>;
  post: <S extends z.ZodType>(path: string, body: object, schema: S) => Promise<z.output<S>>;
  remove: (path: string) => Promise<void>;
  download: (path: string) => Promise<Uint8Array>;
  /** The same, ended by another signal. */
  under: (signal: AbortSignal) => Api;
}>;

/** The hub said no; in its own words. */
export class ApiRefusal extends Error {
  constructor(request: string, status: number, words: string) {
    super(`${request} was answered ${status}: ${words}`);
    this.name = 'ApiRefusal';
  }
}

const timeoutMs = 120_000;

const Refusal = z.looseObject({ error: z.string(), details: z.string().optional() });

const wordsOf = (body: unknown): string => {
  const { success, data } = Refusal.safeParse(body);
  if (!success) return JSON.stringify(body);
  return data.details ? `${data.error} (${data.details})` : data.error;
};

type Call = Readonly<{ method: 'GET' | 'POST' | 'DELETE'; path: string; body?: object; token?: string }>;

const exchange = async (baseUrl: string, { method, path, body, token }: Call, signal: AbortSignal) => {
  const response = await fetch(`${baseUrl}/api/v1${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  });
  return { response, bytes: await response.bytes() };
};

const jsonOf = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

const requestBytes = async (baseUrl: string, call: Call, signal: AbortSignal): Promise<Uint8Array> => {
  const { method, path } = call;
  const { response, bytes } = await exchange(baseUrl, call, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    // fetch itself says no more than that it failed
    const { message } = error instanceof TypeError && error.cause instanceof Error ? error.cause : (error as Error);
    throw new Error(`${method} ${path} got no answer: ${message}`, { cause: error });
  });
  if (!response.ok) throw new ApiRefusal(`${method} ${path}`, response.status, wordsOf(jsonOf(bytes)));
  return bytes;
};

const request = async (baseUrl: string, call: Call, signal: AbortSignal): Promise<unknown> =>
  jsonOf(await requestBytes(baseUrl, call, signal));

const createApi = (baseUrl: string, token: string, signal: AbortSignal): Api => ({
  get: async (path, schema) => schema.parse(await request(baseUrl, { method: 'GET', path, token }, signal)),
  post: async (path, body, schema) =>
    schema.parse(await request(baseUrl, { method: 'POST', path, body, token }, signal)),
  remove: async (path) => {
    await request(baseUrl, { method: 'DELETE', path, token }, signal);
  },
  download: (path) => requestBytes(baseUrl, { method: 'GET', path, token }, signal),
  under: (other) => createApi(baseUrl, token, other),
});

const LoggedIn = z.object({ session_token: z.string().min(1) });

/** Signs in; every later request ends with the signal. */
export const signIn = async (
  baseUrl: string,
  login: Readonly<{ username: string; password: string }>,
  signal: AbortSignal,
): Promise<Api> => {
  const reply = await request(baseUrl, { method: 'POST', path: '/auth/login', body: login }, signal);
  const { session_token: token } = LoggedIn.parse(reply);
  return createApi(baseUrl, token, signal);
};
