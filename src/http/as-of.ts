import { z } from 'zod';
import { HttpProblem } from './errors.ts';
import { Answer, answer, type Endpoint, type RawRequest } from './route.ts';

/** The moment that a question is about, as the client named it. */
export type AsOf = Readonly<{ time: string }> | Readonly<{ position: bigint }>;

/** What counted: every event up to `position`; `time` is what was asked for, or when that event was recorded. */
export type Instant = Readonly<{ position: bigint; time: string }>;

/** Puts an endpoint's question to the tables as they were: `ask` is called with the same endpoint over those tables. */
export type AskThePast = (
  asOf: AsOf,
  question: Readonly<{ endpoint: Endpoint; request: RawRequest }>,
  ask: (then: Endpoint, instant: Instant) => Promise<Awaited<ReturnType<Endpoint['respond']>>>,
) => Promise<Awaited<ReturnType<Endpoint['respond']>>>;

const rule = 'must be a time such as 2026-11-22T02:16:05Z or a position of the log such as 1234';

// Times without a zone would be the server's local time, which the client cannot know.
const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

/** A time (ISO 8601 with its zone, or a date, which is its first instant in UTC) or a position of the log. */
export const parseAsOf = (text: string): AsOf | undefined => {
  if (/^\d{1,19}$/.test(text)) return { position: BigInt(text) };
  // A plus sign that was not escaped arrives as a blank.
  const given = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text.replace(' ', '+');
  const ms = isoTime.test(given) ? Date.parse(given) : Number.NaN;
  return Number.isNaN(ms) ? undefined : { time: new Date(ms).toISOString() };
};

/** For a query parameter; an empty one means now, as if it were not there. */
export const asOfParameter = z
  .string()
  .refine((text) => text === '' || parseAsOf(text) !== undefined, rule)
  .optional()
  .meta({ description: 'Answers as it was then: a time (ISO 8601 with its zone) or a position of the log' });

const travelling = (endpoint: Endpoint, askThePast: AskThePast): Endpoint => ({
  ...endpoint,
  query: (endpoint.query ?? z.object({})).extend({ as_of: asOfParameter }),
  errors: [...endpoint.errors, 'history-not-ready'],
  respond: async (request) => {
    const given = asOfOf(request.query);
    if (given === undefined) return endpoint.respond(request);
    return askThePast(given, { endpoint, request }, async (then, { position, time }) => {
      const reply = await then.respond(request);
      const headers = { 'x-as-of-position': position.toString(), 'x-as-of-time': time };
      return reply instanceof Answer ? answer(reply.status, reply.body, { ...reply.headers, ...headers }) : reply;
    });
  },
});

const Asked = z.object({ as_of: asOfParameter });

const asOfOf = (query: unknown): AsOf | undefined => {
  const { as_of: text } = parseQuery(query);
  return text === undefined ? undefined : parseAsOf(text);
};

const parseQuery = (query: unknown): z.output<typeof Asked> => {
  const parsed = Asked.safeParse(query);
  if (parsed.success) return parsed.data;
  throw new HttpProblem({ status: 400, code: 'invalid-request', message: `Invalid request: as_of: ${rule}` });
};

/** Gives the endpoints of these routes (`GET /api/v1/backups`) the parameter `as_of`; the others stay as they are. */
export const withAsOf = (
  endpoints: readonly Endpoint[],
  routes: ReadonlySet<string>,
  askThePast: AskThePast,
): readonly Endpoint[] =>
  endpoints.map((endpoint) => (routes.has(routeOf(endpoint)) ? travelling(endpoint, askThePast) : endpoint));

export const routeOf = ({ method, path }: Endpoint): string => `${method} ${path}`;
