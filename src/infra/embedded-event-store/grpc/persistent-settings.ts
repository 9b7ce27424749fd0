import type { CreateReq, UpdateReq } from '@eventstore/db-client/generated/persistent_pb.js';
import {
  allEvents,
  type GroupFilter,
  type GroupId,
  type GroupSettings,
} from '../persistent-subscriptions/group-config.ts';
import { GroupRefused } from '../persistent-subscriptions/group-refused.ts';
import type { GroupRequest, WantedStart } from '../persistent-subscriptions/groups.ts';
import { createMatcher } from './event-filter.ts';
import { invalidArgument } from './rpc-error.ts';
import { readStreamName } from './stream-name.ts';

type Settings = CreateReq.Settings | UpdateReq.Settings;
type StreamOptions = CreateReq.StreamOptions | UpdateReq.StreamOptions;
type AllOptions = CreateReq.AllOptions | UpdateReq.AllOptions;

// By the numbers of the enumeration which clients up to 6.2.1 send.
const enumeratedStrategies = ['DispatchToSingle', 'RoundRobin', 'Pinned'];
const ticksPerMs = 10_000;

const readStrategy = (settings: Settings): string => {
  const named = 'getConsumerStrategy' in settings ? settings.getConsumerStrategy() : '';
  const enumerated = settings.getNamedConsumerStrategy();
  return named === '' ? (enumeratedStrategies[enumerated] ?? String(enumerated)) : named;
};

const fromTicks = (ticks: string): number => Math.floor(Number(ticks) / ticksPerMs);

const readSettings = (settings: Settings): GroupSettings => ({
  resolveLinks: settings.getResolveLinks(),
  extraStatistics: settings.getExtraStatistics(),
  messageTimeoutMs: settings.hasMessageTimeoutTicks()
    ? fromTicks(settings.getMessageTimeoutTicks())
    : settings.getMessageTimeoutMs(),
  maxRetryCount: settings.getMaxRetryCount(),
  checkpointAfterMs: settings.hasCheckpointAfterTicks()
    ? fromTicks(settings.getCheckpointAfterTicks())
    : settings.getCheckpointAfterMs(),
  minCheckpointCount: settings.getMinCheckpointCount(),
  maxCheckpointCount: settings.getMaxCheckpointCount(),
  maxSubscriberCount: settings.getMaxSubscriberCount(),
  liveBufferSize: settings.getLiveBufferSize(),
  historyBufferSize: settings.getHistoryBufferSize(),
  readBatchSize: settings.getReadBatchSize(),
  strategy: readStrategy(settings),
});

/** Clients write "the end" as the largest number there is; no log gets near it. */
const startAt = (decimal: string): WantedStart =>
  BigInt(decimal) > BigInt(Number.MAX_SAFE_INTEGER) ? 'end' : { first: Number(decimal) };

const readStreamStart = (options: StreamOptions): WantedStart => {
  if (options.hasRevision()) return startAt(options.getRevision());
  if (options.hasStart()) return 'start';
  if (options.hasEnd()) return 'end';
  throw invalidArgument('Where the subscription starts is missing.');
};

const readAllStart = (options: AllOptions): WantedStart => {
  const position = options.getPosition();
  if (position) {
    if (BigInt(position.getPreparePosition()) > BigInt(position.getCommitPosition())) {
      throw new RangeError('the prepare position must not be after the commit position.');
    }
    return startAt(position.getCommitPosition());
  }
  if (options.hasStart()) return 'start';
  if (options.hasEnd()) return 'end';
  throw invalidArgument('Where the subscription starts is missing.');
};

/** Throws `RpcError` for an expression that is none, before it is kept. */
const readFilter = (options: CreateReq.AllOptions.FilterOptions): GroupFilter => {
  const byStream = options.getStreamIdentifier();
  const expression = byStream ?? options.getEventType();
  if (!expression) throw invalidArgument('The filter says neither stream names nor event types.');
  const filter = { regex: expression.getRegex(), prefixes: expression.getPrefixList() };
  createMatcher(filter.regex, filter.prefixes);
  return { on: byStream ? 'stream' : 'type', ...filter };
};

type Options = CreateReq.Options | UpdateReq.Options;

const readAll = (
  options: AllOptions,
  groupName: string,
  lastPosition: number,
): Pick<GroupRequest, 'start' | 'filter'> => {
  const failed = (reason: string) =>
    new GroupRefused('failed', { eventSource: allEvents, groupName }, `Invalid Start From position: ${reason}`);
  try {
    const start = readAllStart(options);
    if (typeof start === 'object' && start.first > lastPosition) {
      throw failed('there is no such position in the log yet.');
    }
    const filter = 'getFilter' in options ? options.getFilter() : undefined;
    return { start, ...(filter && { filter: readFilter(filter) }) };
  } catch (error) {
    throw error instanceof RangeError ? failed(error.message) : error;
  }
};

/** Throws `RpcError` or `GroupRefused`. `lastPosition`: of the log, which no group can begin behind. */
export const readGroupRequest = (options: Options | undefined, lastPosition: number): GroupRequest => {
  const settings = options?.getSettings();
  if (!options || !settings) throw invalidArgument('The request has no options or no settings.');
  const groupName = readGroupName(options.getGroupName());
  const common = { groupName, settings: readSettings(settings) };
  const all = options.getAll();
  if (all) return { ...common, eventSource: allEvents, ...readAll(all, groupName, lastPosition) };
  const stream = options.getStream();
  // Without stream options the deprecated fields say it, which is what clients up to 6.2.1 send.
  const eventSource = readStreamName(stream?.getStreamIdentifier() ?? options.getStreamIdentifier());
  const start = stream ? readStreamStart(stream) : startAt(settings.getRevision());
  return { ...common, ...notAll({ eventSource, groupName }), start };
};

export const readGroupName = (name: string): string => {
  if (name === '' || name.includes('\0')) throw invalidArgument(`'${name}' is no name of a subscription group.`);
  return name;
};

/** Only its own options, not its name, stand for $all. */
export const notAll = (id: GroupId): GroupId => {
  if (id.eventSource !== allEvents) return id;
  throw new GroupRefused('failed', id, '$all is no stream: subscribe to all events instead.');
};
