import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { EventStore } from '#commands/ports.ts';
import { commandContextOf } from '#http/request.ts';
import type { Endpoint, RawRequest, StreamReply } from '#http/route.ts';
import type { Config } from '#infra/config.ts';
import { lockDataDir } from '#infra/data-dir-lock.ts';
import { createLogger } from '#infra/logger.ts';
import { startReadModel } from '../read-model.ts';
import { readModelAdmin } from '../read-model-admin.ts';
import { openStores } from '../stores.ts';
import { audited } from './audited.ts';
import { tell } from './output.ts';
import { findRunningHub, type RunningHub } from './running-hub.ts';

/** `POST /admin/projections/:name/rebuild`, as the API has it. */
type Question = Readonly<{ route: string; params?: Readonly<Record<string, string>>; body?: object }>;

/** Asks the read models' endpoints, of the running hub or of none. */
export type Ask = <S extends z.ZodType>(question: Question, reply: S) => Promise<z.output<S>>;

/** The last line of a reply in lines is its result. */
const lastLine = (text: string): unknown => JSON.parse(text.trimEnd().split('\n').at(-1) ?? '');

const Refusal = z.looseObject({ message: z.string().optional(), error: z.string().optional() });

/** The hub said no, in a sentence. */
export class Refused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Refused';
  }
}

const refusalOf = (status: number, text: string): Refused => {
  const told = Refusal.safeParse(JSON.parse(text));
  return new Refused((told.success && (told.data.message ?? told.data.error)) || `the hub answered ${status}: ${text}`);
};

const patienceMs = 24 * 3_600_000;

const askHub =
  (hub: RunningHub): Ask =>
  async ({ route, params = {}, body }, reply) => {
    const [method = 'GET', template = ''] = route.split(' ');
    const path = template.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ''));
    const response = await hub.call(`/api/v1${path}`, {
      method,
      signal: AbortSignal.timeout(patienceMs),
      ...(body ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}),
    });
    const text = await response.text();
    if (!response.ok) throw refusalOf(response.status, text);
    const lines = response.headers.get('content-type')?.startsWith('application/x-ndjson');
    return reply.parse(lines ? lastLine(text) : JSON.parse(text));
  };

const wholeText = async ({ body }: StreamReply): Promise<string> => {
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of body) text += typeof piece === 'string' ? piece : decoder.decode(piece, { stream: true });
  return text;
};

/** No hub is there to leave the command's entry in the audit trail. */
const recorded = (store: EventStore, endpoint: Endpoint, request: RawRequest): ReturnType<Endpoint['respond']> => {
  const { audit } = endpoint;
  if (typeof audit !== 'object') return endpoint.respond(request);
  const params = request.params as Readonly<Record<string, string>>;
  const body = request.body as Readonly<Record<string, unknown>>;
  const facts = Object.fromEntries((audit.facts ?? []).map((key) => [key, String(body[key] ?? '')]));
  const command = { action: audit.action, objectType: audit.object, objectId: params.name ?? '', facts };
  return audited(store, command, (onAppended) =>
    endpoint.respond({ ...request, context: (correlationId) => ({ ...request.context(correlationId), onAppended }) }),
  );
};

/** The same endpoints, called in this program. */
const askHere =
  (endpoints: readonly Endpoint[], store: EventStore, signal: AbortSignal): Ask =>
  async ({ route, params = {}, body = {} }, reply) => {
    const endpoint = endpoints.find(({ method, path }) => `${method} ${path}` === route.replace(' ', ' /api/v1'));
    if (!endpoint) throw new Error(`there is no endpoint ${route}`);
    const facts = { actor: 'operator:local', requestId: randomUUID() };
    const request: RawRequest = {
      ...{
        ...facts,
        params,
        query: {},
        body,
        address: 'local',
        idempotency: undefined,
        signal,
        header: () => undefined,
      },
      ...{ audited: () => undefined, accepted: () => undefined, appended: () => [] },
      context: commandContextOf({ ...facts, target: route, key: undefined }),
    };
    const answer = await recorded(store, endpoint, request);
    return reply.parse('status' in answer ? answer.body : lastLine(await wholeText(answer)));
  };

/** Opens the stores as a hub would, brings the read models up to the log, and closes everything again. */
const withoutHub = async <T>(config: Config, work: (ask: Ask) => Promise<T>): Promise<T> => {
  const log = createLogger({ level: 'error', name: 'projections' });
  const lock = lockDataDir(config.dataDir, 'sendense projections');
  try {
    const stop = new AbortController();
    const stores = await openStores(config, log, stop.signal);
    try {
      const onProblem = (error: unknown): void => log.error({ err: error }, 'the read models do not get on');
      const onBegunAnew = (why: string): void =>
        tell(`The read models are of another event log, and built anew: ${why}.`);
      const readModel = await startReadModel({ ...stores, onProblem, onBegunAnew }, stop.signal);
      try {
        await readModel.runner.caughtUp;
        return await work(askHere(readModelAdmin({ stores, readModel }), stores.store, stop.signal));
      } finally {
        stop.abort();
        await readModel.runner.done;
      }
    } finally {
      await stores.close();
    }
  } finally {
    lock.release();
  }
};

export const withReadModels = async <T>(config: Config, work: (ask: Ask) => Promise<T>): Promise<T> => {
  const hub = await findRunningHub(config.dataDir);
  return hub ? work(askHub(hub)) : withoutHub(config, work);
};
