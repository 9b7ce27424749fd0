import { NodeRefused, NodeUnreachable } from '#process-managers/ports.ts';

/** The call took longer than it may; what the node does with it is unknown. */
export class NodeTimedOut extends NodeUnreachable {
  constructor(what: string, timeoutMs: number, options?: ErrorOptions) {
    super(`the node did not answer ${what} within ${timeoutMs / 1000} s`, true, options);
    this.name = 'NodeTimedOut';
  }
}

export type NodeCall = Readonly<{
  method: 'GET' | 'POST';
  url: string;
  body?: object;
  timeoutMs: number;
  /** Must not come back in any text, whatever the node echoes. */
  secrets: readonly string[];
  /** Makes the call; the platform's own where none is given. */
  fetch?: Fetch;
}>;

export type Fetch = (url: string, init: RequestInit & Readonly<{ method: string }>) => Promise<Response>;

export type NodeAnswer = Readonly<{ status: number; text: string }>;

const maxAnswerBytes = 16 * 1024 ** 2;
const maxErrorBytes = 64 * 1024;
const maxTextLength = 500;

/** Failures before a byte of the request left this host. */
const neverSent: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'],
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** One call to the node, with a deadline for the whole of it. Throws `NodeTimedOut`, `NodeUnreachable` or `NodeRefused`. */
export const callNode = async (call: NodeCall, signal: AbortSignal): Promise<NodeAnswer> => {
  signal.throwIfAborted();
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), call.timeoutMs);
  try {
    return await exchange(call, AbortSignal.any([signal, deadline.signal]));
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.signal.aborted) throw new NodeTimedOut(whatOf(call), call.timeoutMs, { cause: error });
    throw error;
  } finally {
    clearTimeout(timer);
  }
};

const exchange = async (call: NodeCall, signal: AbortSignal): Promise<NodeAnswer> => {
  try {
    const response = await (call.fetch ?? fetch)(call.url, {
      method: call.method,
      signal,
      // A redirect would carry the login to wherever it points.
      redirect: 'manual',
      // A kept connection may be dead when it is used again, and a start must not be repeated.
      headers: { connection: 'close', ...(call.body ? { 'content-type': 'application/json' } : {}) },
      ...(call.body ? { body: JSON.stringify(call.body) } : {}),
    });
    return { status: response.status, text: await readText(response, call.secrets) };
  } catch (error) {
    if (error instanceof NodeRefused || signal.aborted) throw error;
    throw failureOf(call, error);
  }
};

const readText = async (response: Response, secrets: readonly string[]): Promise<string> => {
  const limit = response.ok ? maxAnswerBytes : maxErrorBytes;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    length += chunk.byteLength;
    if (length <= limit) continue;
    if (!response.ok) break;
    throw new NodeRefused(response.status, `the answer is longer than ${limit / 1024 ** 2} MiB`);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return response.ok ? text : shorten(text, secrets);
};

const failureOf = (call: NodeCall, error: unknown): Error => {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : undefined;
  const code = cause && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  // Without its cause, which quotes the bytes that came: they may hold the login that was sent.
  if (cause?.name === 'HTTPParserError') return new NodeRefused(0, 'what it sent is not HTTP');
  const sent = !neverSent.has(code);
  const reason = code === '' ? 'the connection failed' : code;
  const text = sent
    ? `the connection to the node broke during ${whatOf(call)} (${reason})`
    : `the node does not answer at ${new URL(call.url).host} (${reason})`;
  return new NodeUnreachable(text, sent, { cause: error });
};

const whatOf = ({ method, url }: NodeCall): string => `${method} ${new URL(url).pathname}`;

/** One line of at most 500 characters without any of the secrets; for messages, details and logs. */
export const shorten = (text: string, secrets: readonly string[]): string => {
  const forms = secrets
    .filter((secret) => secret !== '')
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])
    .toSorted((a, b) => b.length - a.length);
  const clean = forms.reduce((rest, form) => rest.replaceAll(form, '[redacted]'), text);
  return clean.replaceAll(/\s+/g, ' ').trim().slice(0, maxTextLength);
};
