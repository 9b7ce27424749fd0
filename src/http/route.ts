import type { RequestHandler } from 'express';
import { z } from 'zod';
import type { ErrorCode } from '#domain/errors.ts';
import type { EndpointAudit } from './audit.ts';
import type { ErrorGroup } from './error-shapes.ts';
import { HttpProblem, type StatusOverrides } from './errors.ts';
import type { RequestFacts } from './request.ts';

/*
 * An endpoint is a value: its schemas check what comes in, type the handler, check what goes out, and become its operation
 * in the OpenAPI document. A file of endpoints looks like this:
 *
 *   const { endpoint } = resource({ tag: 'Backups', group: 'E1' });
 *   export const backupEndpoints = ({ startBackup }: Deps): readonly Endpoint[] => [
 *     endpoint('POST /backups', {
 *       summary: 'Starts a backup of all disks of a VM',
 *       body: StartBackup,
 *       reply: BackupResponse,
 *       errors: ['vm-not-found', 'backup-already-running'],
 *       handle: async ({ body, context, signal }) => toWire(await startBackup(fromWire(body), context(), signal)),
 *     }),
 *   ];
 *
 * `handle` returns the reply's body, or `answer(status, body, headers)`.
 */

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/**
 * Who may call. `loopback-callback`: a client without any Authorization header is let in when it connects from this host;
 * a token that is sent must still be good.
 */
export type Access = 'required' | 'public' | 'loopback-callback';

export type HttpRequest<Params, Query, Body> = RequestFacts & Readonly<{ params: Params; query: Query; body: Body }>;

/** A reply with another status than the usual one, or with headers. */
export class Answer<Status extends number = number, Body = unknown> {
  readonly status: Status;
  readonly body: Body;
  readonly headers: Headers;

  constructor(status: Status, body: Body, headers: Headers) {
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

export const answer = <const Status extends number, const Body>(
  status: Status,
  body: Body,
  headers: Headers = {},
): Answer<Status, Body> => new Answer(status, body, headers);

/** In place of the usual body, where the client asked for another form of it: one of the endpoint's `forms`. */
export class OtherForm {
  readonly reply: StreamReply;

  constructor(contentType: string, reply: StreamReply) {
    this.reply = { ...reply, headers: { 'content-type': contentType, ...reply.headers } };
  }
}

/** A reply that is written piece by piece, at the reader's pace; the request's signal ends it early. */
export type StreamReply = Readonly<{
  body: AsyncIterable<string | Uint8Array>;
  /** 200 when not given; 206 for a part of it. */
  status?: number;
  headers?: Headers;
  /** Told of each piece that is on its way, so that its memory can be used again; without it nobody may touch a piece once it is handed out. */
  recycle?: (piece: Uint8Array) => void;
  /** Breaks it off, also while its reader takes nothing; the reason is told as an error. */
  brokenBy?: AbortSignal;
  /** Called once when it is over, also when nothing of the body was ever read: a generator's `finally` may not run. */
  release?: () => void;
}>;

type Headers = Readonly<Record<string, string>>;

/** What every endpoint has, whatever its types: this is what the app serves and the document describes. */
export type Endpoint = Readonly<{
  method: Method;
  /** Express's syntax, from the root: `/api/v1/backups/:backup_id`. */
  path: string;
  group: ErrorGroup;
  tag: string;
  summary: string;
  description: string | undefined;
  access: Access;
  params: z.ZodObject | undefined;
  query: z.ZodObject | undefined;
  body: z.ZodType | undefined;
  /** By status; a stream has a content type in place of a schema. */
  replies: Readonly<Record<number, z.ZodType | string>>;
  errors: readonly ErrorCode[];
  statuses: StatusOverrides;
  maxBodyBytes: number;
  guards: readonly RequestHandler[];
  /** Content types that it answers in beside JSON. */
  forms: readonly string[];
  /** How the audit trail tells its command; undefined for what changes nothing. */
  audit: EndpointAudit | undefined;
  /** Whether `?dry_run=true` is answered; refused where it is not. */
  dryRun: boolean;
  /** Checks the input, runs the handler, checks the reply. */
  respond: (request: RawRequest) => Promise<Answer | StreamReply>;
}>;

export type RawRequest = HttpRequest<unknown, unknown, unknown>;

/** `'/a/:x/b/:y'` to `'x' | 'y'`. */
type ParamNames<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | ParamNames<`/${Rest}`>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never;

/** Where no schema is given, path parameters are strings and query and body are empty. */
type Params<P, Path extends string> = P extends z.ZodObject ? z.output<P> : Readonly<Record<ParamNames<Path>, string>>;
type Parsed<S> = S extends z.ZodType ? z.output<S> : Readonly<Record<never, never>>;

type Input<P, Q, B> = Readonly<{
  summary: string;
  description?: string;
  auth?: Access;
  /** `root`: outside `/api/v1`. */
  base?: 'api' | 'root';
  params?: P;
  query?: Q;
  body?: B;
  /** Refusals that it may answer, for the document; 400, 401 and 500 need not be named. */
  errors?: readonly ErrorCode[];
  statuses?: StatusOverrides;
  /** 1 MiB when not given. */
  maxBodyBytes?: number;
  /** The whole error text for input that does not fit, where clients expect a certain one. */
  invalidRequestText?: string;
  /** Runs before the body is read, e.g. a rate limit. */
  guards?: readonly RequestHandler[];
  forms?: readonly string[];
  /** Every endpoint but GETs needs one. */
  audit?: EndpointAudit;
  /** Only for endpoints that are built again, on ports without effects, by `src/composition/dry-run.ts`. */
  dryRun?: boolean;
}>;

type Replies = Readonly<Record<number, z.ZodType>>;

/** Handlers return what they like to keep immutable. */
type Frozen<T> = T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;
type Sent<R extends z.ZodType> = Frozen<z.input<R>>;

type AnswerOf<R extends Replies> = { [S in keyof R & number]: Answer<S, Sent<R[S]>> }[keyof R & number];

type Output<R extends z.ZodType, S extends number, O extends Replies> = Readonly<{
  reply: R;
  /** 200 when not given. */
  status?: S;
  otherReplies?: O;
}>;

type Handled<R extends z.ZodType, S extends number, O extends Replies> =
  | Sent<R>
  | Answer<S, Sent<R>>
  | AnswerOf<O>
  | OtherForm;

type Stream<Request> = Readonly<{
  contentType: string;
  /** Content types by status, of what is streamed with another one than 200. */
  otherReplies?: Readonly<Record<number, string>>;
  handle: (request: Request) => Promise<StreamReply>;
}>;

type Route<Path extends string> = `${Method} ${Path}`;

/** What the endpoints of one resource have in common; each may differ. */
export const resource = (common: Readonly<{ tag: string; group: ErrorGroup; auth?: Access }>) => {
  const endpoint = <
    Path extends string,
    R extends z.ZodType,
    P extends z.ZodObject | undefined = undefined,
    Q extends z.ZodObject | undefined = undefined,
    B extends z.ZodType | undefined = undefined,
    S extends number = 200,
    O extends Replies = Record<never, never>,
    // `const` keeps literals literal in what the handler returns: `success: true` is not any boolean.
    const H extends Handled<R, S, O> = Handled<R, S, O>,
  >(
    route: Route<Path>,
    definition: Input<P, Q, B> &
      Output<R, S, O> &
      Readonly<{ handle: (request: HttpRequest<Params<P, Path>, Parsed<Q>, Parsed<B>>) => Promise<H> }>,
  ): Endpoint => {
    const status = definition.status ?? 200;
    const replies: Replies = { ...definition.otherReplies, [status]: definition.reply };
    return {
      ...describe(route, definition, common),
      replies,
      respond: async (request) => {
        const handled = await definition.handle(readInput(request, definition));
        if (handled instanceof OtherForm) return handled.reply;
        const { status: sent, body, headers } = handled instanceof Answer ? handled : answer(status, handled);
        return answer(sent, checkReply(route, replies[sent], body), headers);
      },
    };
  };

  const stream = <
    Path extends string,
    P extends z.ZodObject | undefined = undefined,
    Q extends z.ZodObject | undefined = undefined,
    B extends z.ZodType | undefined = undefined,
  >(
    route: Route<Path>,
    definition: Input<P, Q, B> & Stream<HttpRequest<Params<P, Path>, Parsed<Q>, Parsed<B>>>,
  ): Endpoint => ({
    ...describe(route, definition, common),
    replies: { ...definition.otherReplies, 200: definition.contentType },
    respond: async (request) => {
      const reply = await definition.handle(readInput(request, definition));
      return { ...reply, headers: { 'content-type': definition.contentType, ...reply.headers } };
    },
  });

  return { endpoint, stream };
};

const describe = (
  route: string,
  definition: Input<z.ZodObject | undefined, z.ZodObject | undefined, z.ZodType | undefined>,
  common: Readonly<{ tag: string; group: ErrorGroup; auth?: Access }>,
): Omit<Endpoint, 'replies' | 'respond'> => {
  const [method, path] = route.split(' ');
  return {
    method: method as Method,
    path: definition.base === 'root' ? `${path}` : `/api/v1${path}`,
    group: common.group,
    tag: common.tag,
    summary: definition.summary,
    description: definition.description,
    access: definition.auth ?? common.auth ?? 'required',
    params: definition.params,
    query: definition.query,
    body: definition.body,
    errors: definition.errors ?? [],
    statuses: definition.statuses ?? {},
    maxBodyBytes: definition.maxBodyBytes ?? 1024 ** 2,
    guards: definition.guards ?? [],
    forms: definition.forms ?? [],
    audit: definition.audit,
    dryRun: definition.dryRun ?? false,
  };
};

/** The one dispatch from unchecked to checked: each part has passed the schema that types it. */
const readInput = <P, Q, B, Request>(request: RawRequest, definition: Input<P, Q, B>): Request => {
  const { params, query, body, invalidRequestText } = definition;
  return {
    ...request,
    params: checkPart('path', params, request.params, invalidRequestText),
    query: checkPart('query', query, request.query, invalidRequestText),
    body: checkPart('body', body, request.body, invalidRequestText),
  } as Request;
};

const checkPart = (part: string, schema: unknown, value: unknown, text: string | undefined): unknown => {
  if (!(schema instanceof z.ZodType)) return part === 'path' ? value : {};
  const result = schema.safeParse(value, { error: ({ input }) => (input === undefined ? isRequired : undefined) });
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => faultOf(part, issue)).join('; ');
  throw new HttpProblem({
    status: 400,
    code: 'invalid-request',
    message: text ?? `Invalid request: ${faults}`,
    details: text === undefined ? '' : faults,
  });
};

const isRequired = 'is required';

const faultOf = (part: string, { path, message }: z.core.$ZodIssue): string => {
  const name = path.length === 0 ? `the ${part}` : path.join('.');
  return message === isRequired ? `${name} ${message}` : `${name}: ${message}`;
};

/**
 * Replies are checked in production too: a body that is not as documented breaks clients far from the cause, and a schema
 * strips what it does not name, so nothing leaves by accident. It is a defect of the hub, hence 500 and the log.
 */
const checkReply = (route: string, schema: z.ZodType | undefined, body: unknown): unknown => {
  if (schema === undefined) throw new Error(`${route} answered with a status that it does not declare`);
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new Error(`${route} answered with a body that is not as declared`, { cause: result.error });
};
