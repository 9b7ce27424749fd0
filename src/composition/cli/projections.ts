import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { DomainError } from '#domain/errors.ts';
import { createProgressLine, print, tell } from './output.ts';
import { type Ask, Refused, withReadModels } from './read-model-access.ts';
import { loadConfig, UsageError } from './usage.ts';

const usage = `usage: ./sendense projections COMMAND [--json]

  status                                        how far the read models are, and the newest rebuild
  rebuild [NAME] [--no-wait]                    builds one, or all of them, anew beside the live ones
  rebuild --cancel                              ends the one that is under way
  check [NAME]                                  compares every row with what the log gives; 1 when they differ
  parked [NAME]                                 events that could not be applied
  retry STREAM [--projection NAME]              applies a parked stream again
  skip STREAM --reason TEXT [--projection NAME] leaves out the event that holds it up`;

const Rebuild = z.object({
  state: z.enum(['running', 'completed', 'failed', 'cancelled', 'interrupted']),
  projections: z.array(z.string()),
  requested_by: z.string(),
  started_at: z.string(),
  ended_at: z.string().nullable(),
  events_done: z.number(),
  events_total: z.number(),
  events_per_second: z.number(),
  seconds_left: z.number().nullable(),
  error: z.string().nullable(),
});
type Rebuild = z.output<typeof Rebuild>;
const Newest = z.object({ rebuild: Rebuild.nullable() });

const Status = Newest.extend({
  position: z.string(),
  head: z.string(),
  problem: z.string().nullable(),
  log: z.object({ followed_since: z.string(), begun_anew_because: z.string().nullable() }).nullish(),
  projections: z.array(z.object({ name: z.string(), tables: z.array(z.string()), parked_streams: z.number() })),
});

const Parked = z.object({
  ...{ projection: z.string(), stream: z.string(), event_id: z.string(), event_type: z.string() },
  ...{ revision: z.number(), position: z.string(), error: z.string(), recorded_at: z.string() },
  ...{ parked_at: z.string(), attempts: z.number(), waiting: z.number() },
});
const ParkedList = z.object({ parked: z.array(Parked) });
const Outcome = z.object({ applied: z.boolean(), parked: Parked.nullable() });

const Checked = z.discriminatedUnion('state', [
  z.object({
    state: z.literal('completed'),
    identical: z.boolean(),
    tables: z.array(
      z.object({
        ...{ projection: z.string(), table: z.string(), rows: z.number(), only_live: z.number() },
        only_rebuilt: z.number(),
        examples: z.object({ live: z.array(z.unknown()), rebuilt: z.array(z.unknown()) }),
      }),
    ),
  }),
  z.object({ state: z.literal('failed'), error: z.string() }),
]);

const options = {
  json: { type: 'boolean', default: false },
  'no-wait': { type: 'boolean', default: false },
  cancel: { type: 'boolean', default: false },
  projection: { type: 'string' },
  reason: { type: 'string' },
} as const;

type Values = Readonly<{
  json: boolean;
  'no-wait': boolean;
  cancel: boolean;
  projection?: string | undefined;
  reason?: string | undefined;
}>;
type Wanted = Readonly<{ ask: Ask; argument: string | undefined; values: Values }>;

const show = (values: Values, data: object, lines: readonly string[]): Promise<void> =>
  print(values.json ? `${JSON.stringify(data)}\n` : `${lines.join('\n')}\n`);

const rebuildLine = (rebuild: Rebuild): string => {
  const { state, events_done: done, events_total: total, events_per_second: rate, seconds_left: left } = rebuild;
  const what = rebuild.projections.join(', ');
  const how = `${done} of ${total} events, ${rate}/s`;
  if (state === 'running') return `rebuilding ${what}: ${how}${left === null ? '' : `, ${left} s left`}`;
  return `rebuild of ${what} ${state} ${rebuild.ended_at ?? ''}: ${how}${rebuild.error ? `: ${rebuild.error}` : ''}`;
};

const status = async ({ ask, values }: Wanted): Promise<number> => {
  const found = await ask({ route: 'GET /admin/projections' }, Status);
  const width = Math.max(...found.projections.map(({ name }) => name.length));
  await show(values, found, [
    `applied up to ${found.position}, the log is at ${found.head}${found.problem ? `: ${found.problem}` : ''}`,
    ...found.projections.map(({ name, tables, parked_streams: parked }) => {
      const held = parked === 0 ? '' : `  ${parked} parked: ./sendense projections parked ${name}`;
      return `${parked === 0 ? '✔' : '!'} ${name.padEnd(width)}  ${tables.join(', ')}${held}`;
    }),
    ...(found.log?.begun_anew_because
      ? [`built anew for another log at ${found.log.followed_since}: ${found.log.begun_anew_because}`]
      : []),
    ...(found.rebuild ? [rebuildLine(found.rebuild)] : []),
  ]);
  return found.problem === null && found.projections.every(({ parked_streams: parked }) => parked === 0) ? 0 : 1;
};

const lookEveryMs = 300;

/** Of a rebuild that was begun: how it ended. */
const follow = async (ask: Ask): Promise<Rebuild> => {
  const line = createProgressLine();
  try {
    for (;;) {
      const { rebuild } = await ask({ route: 'GET /admin/projections/:name/rebuild', params: { name: 'all' } }, Newest);
      if (!rebuild) throw new Error('the rebuild has no record');
      if (rebuild.state !== 'running') return rebuild;
      line.show(rebuildLine(rebuild));
      await delay(lookEveryMs);
    }
  } finally {
    line.end();
  }
};

const rebuild = async ({ ask, argument = 'all', values }: Wanted): Promise<number> => {
  const params = { name: argument };
  if (values.cancel) {
    const cancelled = await ask({ route: 'DELETE /admin/projections/:name/rebuild', params }, Newest);
    await show(values, cancelled, ['the rebuild ends; nothing has changed']);
    return 0;
  }
  const begun = await ask({ route: 'POST /admin/projections/:name/rebuild', params }, Rebuild);
  const end = values['no-wait'] ? begun : await follow(ask);
  await show(values, end, [rebuildLine(end)]);
  return end.state === 'completed' || end.state === 'running' ? 0 : 1;
};

const check = async ({ ask, argument = 'all', values }: Wanted): Promise<number> => {
  const params = { name: argument };
  const checked = await ask({ route: 'POST /admin/projections/:name/check', params }, Checked);
  if (checked.state === 'failed') throw new Refused(checked.error);
  await show(values, checked, [
    ...checked.tables.flatMap(({ table, rows, only_live: live, only_rebuilt: rebuilt, examples }) =>
      live + rebuilt === 0
        ? [`✔ ${table}: ${rows} rows`]
        : [
            `✖ ${table}: ${live} of ${rows} rows differ from what the log gives, ${rebuilt} the other way round`,
            ...examples.live.map((row) => `    live    ${JSON.stringify(row)}`),
            ...examples.rebuilt.map((row) => `    rebuilt ${JSON.stringify(row)}`),
          ],
    ),
    checked.identical ? 'identical' : 'not identical: ./sendense projections rebuild brings the tables in line',
  ]);
  return checked.identical ? 0 : 1;
};

const parkedLine = ({ projection, stream, event_type: type, revision, error, attempts, waiting }: ParkedRow): string =>
  `${projection}  ${stream}: ${type} (revision ${revision}) failed ${attempts} times: ${error}; ${waiting} events wait`;
type ParkedRow = z.output<typeof Parked>;

const listParked = (ask: Ask, name: string) =>
  ask({ route: 'GET /admin/projections/:name/parked', params: { name } }, ParkedList);

const parked = async ({ ask, argument = 'all', values }: Wanted): Promise<number> => {
  const found = await listParked(ask, argument);
  await show(values, found, found.parked.length === 0 ? ['nothing is parked'] : found.parked.map(parkedLine));
  return 0;
};

/** Without a name it must be clear which one is meant. */
const placeOf = async ({ ask, argument, values }: Wanted) => {
  if (!argument) throw new UsageError(`name the stream\n${usage}`);
  if (values.projection) return { name: values.projection, stream: argument };
  const held = (await listParked(ask, 'all')).parked.filter(({ stream }) => stream === argument);
  const [first, second] = held;
  if (second) throw new UsageError(`${held.length} read models have parked ${argument}: give --projection NAME`);
  if (!first) throw new UsageError(`no read model has parked ${argument}`);
  return { name: first.projection, stream: argument };
};

const tellOutcome = async (values: Values, outcome: z.output<typeof Outcome>): Promise<number> => {
  const line = outcome.parked ? `still parked: ${parkedLine(outcome.parked)}` : 'applied; nothing of the stream waits';
  await show(values, outcome, [line]);
  return outcome.applied ? 0 : 1;
};

const retry = async (wanted: Wanted): Promise<number> => {
  const params = await placeOf(wanted);
  const route = 'POST /admin/projections/:name/parked/:stream/retry';
  return tellOutcome(wanted.values, await wanted.ask({ route, params }, Outcome));
};

const skip = async (wanted: Wanted): Promise<number> => {
  const { reason } = wanted.values;
  if (!reason) throw new UsageError('--reason must say why the event is left out');
  const params = await placeOf(wanted);
  const route = 'POST /admin/projections/:name/parked/:stream/skip';
  return tellOutcome(wanted.values, await wanted.ask({ route, params, body: { reason } }, Outcome));
};

const commands: Readonly<Record<string, (wanted: Wanted) => Promise<number>>> = {
  ...{ status, rebuild, check, parked, retry, skip },
};

const readArguments = (args: readonly string[]) => {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
  }
};

/** `./sendense projections`. Returns 0, or 1 when what was asked for is not well. */
export const runProjectionsCommand = async (args: readonly string[]): Promise<number> => {
  const { values, positionals } = readArguments(args);
  const [name = '', argument, ...rest] = positionals;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command || rest.length > 0) throw new UsageError(usage);
  try {
    return await withReadModels(await loadConfig(), (ask) => command({ ask, argument, values }));
  } catch (error) {
    if (!(error instanceof DomainError || error instanceof Refused)) throw error;
    tell(error.message);
    return 1;
  }
};
