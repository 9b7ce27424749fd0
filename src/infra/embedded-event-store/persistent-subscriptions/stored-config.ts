import { randomUUID } from 'node:crypto';
import type { EventStorage } from '../event-storage.ts';
import { dataOf, type ProposedEvent } from '../recorded-event.ts';
import { metastreamOf } from '../stream-metadata.ts';
import { formatPlace, type GroupConfig, type GroupFilter, type GroupStart, parsePlace } from './group-config.ts';

/**
 * The configuration of all groups is one event, as on the server that this one follows: the last of its stream counts. It
 * is part of the log, and so as durable as it, and moves with it.
 */
const configStream = '$persistentSubscriptionConfig';
const configEventType = '$PersistentConfig';
const configVersion = '2';
const configMetadata = '{"$maxCount":2}';

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;

const end = -1;

const toEntry = ({ eventSource, groupName, start, filter, settings }: GroupConfig): Fields => ({
  stream: eventSource,
  group: groupName,
  ...(filter && { filter }),
  startPosition: formatPlace(eventSource, start.kind === 'end' ? end : start.first),
  ...(start.kind === 'end' && { startedAfter: start.last }),
  resolveLinkTos: settings.resolveLinks,
  extraStatistics: settings.extraStatistics,
  messageTimeout: settings.messageTimeoutMs,
  maxRetryCount: settings.maxRetryCount,
  checkPointAfter: settings.checkpointAfterMs,
  minCheckPointCount: settings.minCheckpointCount,
  maxCheckPointCount: settings.maxCheckpointCount,
  maxSubscriberCount: settings.maxSubscriberCount,
  liveBufferSize: settings.liveBufferSize,
  historyBufferSize: settings.historyBufferSize,
  readBatchSize: settings.readBatchSize,
  namedConsumerStrategy: settings.strategy,
});

class Unreadable extends Error {}

const text = (fields: Fields, name: string): string => {
  const value = fields[name];
  if (typeof value !== 'string') throw new Unreadable(name);
  return value;
};

const count = (fields: Fields, name: string): number => {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new Unreadable(name);
  return value;
};

const readFilter = (value: unknown): GroupFilter | undefined => {
  if (!isFields(value)) return undefined;
  const { on, prefixes } = value;
  if ((on !== 'stream' && on !== 'type') || !Array.isArray(prefixes)) throw new Unreadable('filter');
  return { on, regex: text(value, 'regex'), prefixes: prefixes.map(String) };
};

const readStart = (fields: Fields): GroupStart => {
  if (fields.startedAfter !== undefined) return { kind: 'end', last: count(fields, 'startedAfter') };
  const first = parsePlace(text(fields, 'startPosition'));
  if (first === undefined) throw new Unreadable('startPosition');
  return { kind: 'at', first };
};

const fromEntry = (fields: Fields): GroupConfig => {
  const filter = readFilter(fields.filter);
  return {
    eventSource: text(fields, 'stream'),
    groupName: text(fields, 'group'),
    start: readStart(fields),
    ...(filter && { filter }),
    settings: {
      resolveLinks: fields.resolveLinkTos === true,
      extraStatistics: fields.extraStatistics === true,
      messageTimeoutMs: count(fields, 'messageTimeout'),
      maxRetryCount: count(fields, 'maxRetryCount'),
      checkpointAfterMs: count(fields, 'checkPointAfter'),
      minCheckpointCount: count(fields, 'minCheckPointCount'),
      maxCheckpointCount: count(fields, 'maxCheckPointCount'),
      maxSubscriberCount: count(fields, 'maxSubscriberCount'),
      liveBufferSize: count(fields, 'liveBufferSize'),
      historyBufferSize: count(fields, 'historyBufferSize'),
      readBatchSize: count(fields, 'readBatchSize'),
      strategy: text(fields, 'namedConsumerStrategy'),
    },
  };
};

/** Undefined if this is none: whoever may write system streams may write nonsense into this one. */
const parse = (json: string): readonly GroupConfig[] | undefined => {
  try {
    const config: unknown = JSON.parse(json);
    if (!isFields(config) || !Array.isArray(config.entries)) return undefined;
    return config.entries.filter(isFields).map(fromEntry);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof Unreadable) return undefined;
    throw error;
  }
};

export const loadGroups = ({ reader }: EventStorage): readonly GroupConfig[] => {
  if (reader.isMissing(configStream) || reader.isDeleted(configStream)) return [];
  for (const { record } of reader.streamPage(configStream, reader.visibleRange(configStream), 'backwards')) {
    const groups = parse(dataOf(record).toString('utf8'));
    if (groups) return groups;
  }
  return [];
};

/** An event of the server's own. */
export const systemEvent = (type: string, json: string): ProposedEvent => ({
  id: randomUUID(),
  type,
  contentType: 'application/json',
  data: Buffer.from(json),
  customMetadata: new Uint8Array(),
});

/**
 * Resolves once it is on disk. What the caller queues in the same turn before it shares its transaction or precedes it.
 */
export const saveGroups = async (storage: EventStorage, groups: Iterable<GroupConfig>): Promise<void> => {
  const entries = Array.from(groups, toEntry);
  const json = JSON.stringify({ version: configVersion, updated: new Date().toISOString(), entries });
  await Promise.all([
    writeFirstMetadata(storage, configStream, configMetadata),
    appendSystemEvent(storage, configStream, systemEvent(configEventType, json)),
  ]);
};

export const appendSystemEvent = async (
  { append }: EventStorage,
  streamName: string,
  event: ProposedEvent,
): Promise<void> => {
  const { kind } = await append({ streamName, expected: { kind: 'any' }, events: [event] }, event.data.length);
  if (kind !== 'written') throw new Error(`The stream '${streamName}' was deleted for ever; it cannot be written to.`);
};

/** For a stream that is about to get its first event, or its first since it was deleted. */
export const writeFirstMetadata = async (storage: EventStorage, streamName: string, json: string): Promise<void> => {
  if (!storage.reader.isMissing(streamName)) return;
  await appendSystemEvent(storage, metastreamOf(streamName), systemEvent('$metadata', json));
};
