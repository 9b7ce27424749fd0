import { DomainError } from '#domain/errors.ts';
import { type AsOf, type Instant, routeOf, withAsOf } from '#http/as-of.ts';
import type { Endpoint, RawRequest } from '#http/route.ts';
import { eventIndexQueries } from '#projections/event-index.ts';
import { historyIndexQueries } from '#projections/history-index.ts';
import type { Moments } from './moments.ts';
import { buildPast, type Past, type PastTables } from './past.ts';
import { type Bound, eventsOf, type Scope } from './past-sources.ts';
import type { LiveReadModel } from './read-model.ts';
import { clock } from './services.ts';
import type { Stores } from './stores.ts';

type Deps = Readonly<{
  stores: Pick<Stores, 'store' | 'feed' | 'database' | 'postgres'>;
  readModel: LiveReadModel;
  moments: Moments<Past>;
}>;

const indexPatienceMs = 5_000;

type Named = Readonly<Record<string, unknown>>;
type Names = Readonly<{ params: Named; query: Named }>;

/** A VM by its name or its id; undefined when the question names none. */
type Asked = Scope | Readonly<{ of: 'named'; vmName: string }>;

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

const everything: Scope = { of: 'everything' };
const inventory: Scope = { of: 'inventory' };

const ofVm = (contextId: unknown, vmName: unknown): Asked => {
  const [id, name] = [text(contextId), text(vmName)];
  if (id !== undefined) return { of: 'vms', contextIds: [id] };
  return name === undefined ? everything : { of: 'named', vmName: name };
};

const ofBackup = ({ params }: Names): Asked => ({ of: 'backup', backupId: text(params.backup_id) ?? '' });

/** Every route that can be asked about the past, and what has to be read for it. */
const asked: Readonly<Record<string, (names: Names) => Asked>> = {
  'GET /api/v1/backups': ({ query }) => ofVm(query.vm_context_id, query.vm_name),
  'GET /api/v1/backups/stats': ({ query }) => ofVm(undefined, query.vm_name),
  'GET /api/v1/backups/chain': ({ query }) => ofVm(query.vm_context_id, query.vm_name),
  'GET /api/v1/backups/:vm_name/chain': ({ params, query }) => ofVm(query.vm_context_id, params.vm_name),
  'GET /api/v1/backups/:backup_id': ofBackup,
  'GET /api/v1/backups/:backup_id/disks': ofBackup,
  'GET /api/v1/repositories': () => everything,
  'GET /api/v1/repositories/:repository_id/storage': () => everything,
  'GET /api/v1/vm-contexts': () => inventory,
  'GET /api/v1/vm-contexts/ungrouped': () => inventory,
  'GET /api/v1/discovery/ungrouped-vms': () => inventory,
  'GET /api/v1/vm-contexts/by-id/:context_id': () => inventory,
  'GET /api/v1/vm-contexts/:vm_name': () => inventory,
  'GET /api/v1/vm-contexts/:context_id/disks': () => inventory,
  'GET /api/v1/vm-contexts/:context_id/recent-jobs': ({ params }) => ofVm(params.context_id, undefined),
};

const routes: ReadonlySet<string> = new Set(Object.keys(asked));

const keyOf = (scope: Scope, { position, reportsUntil }: Bound): string =>
  JSON.stringify([scope, position.toString(), reportsUntil]);

/** The log is asked where it is now, and the indexes have to be there as well: they tell where each time is. */
const createResolve = ({ stores, readModel }: Omit<Deps, 'moments'>) => {
  const index = eventIndexQueries(stores.database.readModel);
  const origin = '1970-01-01T00:00:00.000Z';
  return async (asOf: AsOf, signal: AbortSignal): Promise<Readonly<{ bound: Bound; instant: Instant }>> => {
    const head = await stores.feed.head(signal);
    if (!(await readModel.runner.waitFor(head, indexPatienceMs))) {
      throw new DomainError('history-not-ready', 'the read models are behind the log; ask again in a few seconds');
    }
    if ('position' in asOf) {
      const position = asOf.position < head ? asOf.position : head;
      const last = await index.lastBefore(position);
      const time = last?.recorded_at ?? origin;
      return { bound: { position, reportsUntil: null }, instant: { position, time } };
    }
    const now = clock.now();
    if (asOf.time >= now) {
      return { bound: { position: head, reportsUntil: null }, instant: { position: head, time: now } };
    }
    const last = await index.lastAt(asOf.time);
    const position = BigInt(last?.position ?? 0);
    return { bound: { position, reportsUntil: asOf.time }, instant: { position, time: asOf.time } };
  };
};

/**
 * Questions about the past: the same endpoints, queries and projections over tables that are made for the question. `over`
 * makes the API's endpoints over other tables.
 */
export const withTimeTravel = (
  deps: Deps,
  endpoints: readonly Endpoint[],
  over: (tables: PastTables) => readonly Endpoint[],
): readonly Endpoint[] => {
  const { stores, moments } = deps;
  const resolve = createResolve(deps);
  const sources = { ...stores, history: historyIndexQueries(stores.database.readModel) };
  const endpointsOver = (tables: PastTables) =>
    new Map(over(tables).map((endpoint) => [routeOf(endpoint), endpoint] as const));
  const within = <R>(scope: Scope, bound: Bound, answer: (past: Past) => Promise<R>): Promise<R> =>
    moments.use(
      keyOf(scope, bound),
      (signal) => buildPast({ postgres: stores.postgres, endpointsOver }, eventsOf(sources, scope, bound, signal)),
      answer,
    );
  /** A name leads to the VMs that had it then. */
  const scopeOf = async (what: Asked, bound: Bound): Promise<Scope> => {
    if (what.of !== 'named') return what;
    const named = await within(inventory, bound, ({ queries }) => queries.vmContexts.findByName(what.vmName));
    return { of: 'vms', contextIds: named.map((vm) => vm.context_id) };
  };
  return withAsOf(endpoints, routes, async (asOf, { endpoint, request }, ask) => {
    const route = routeOf(endpoint);
    const what = asked[route]?.(namesIn(request)) ?? everything;
    const { bound, instant } = await resolve(asOf, request.signal);
    return within(await scopeOf(what, bound), bound, ({ endpoints: then }) => {
      const same = then.get(route);
      if (!same) throw new Error(`${route} is not served over the past`);
      return ask(same, instant);
    });
  });
};

const namesIn = ({ params, query }: RawRequest): Names => ({ params: params as Named, query: query as Named });
