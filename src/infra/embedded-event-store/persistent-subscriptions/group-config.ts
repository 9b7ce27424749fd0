/** How a group hands out its messages. Names and meaning are EventStoreDB's. */
export type GroupSettings = Readonly<{
  resolveLinks: boolean;
  extraStatistics: boolean;
  /** A message that is not acknowledged for so long is sent again. 0: never. */
  messageTimeoutMs: number;
  /** A message that was sent again so often is parked instead. */
  maxRetryCount: number;
  /** 0: checkpoints are written by count alone. */
  checkpointAfterMs: number;
  minCheckpointCount: number;
  maxCheckpointCount: number;
  /** 0: any number. */
  maxSubscriberCount: number;
  liveBufferSize: number;
  historyBufferSize: number;
  readBatchSize: number;
  strategy: string;
}>;

/** Which events of $all a group is about. The expression wins if there are both. */
export type GroupFilter = Readonly<{ on: 'stream' | 'type'; regex: string; prefixes: readonly string[] }>;

/**
 * The place from which a new group reads: the first event it wants, as a revision of its stream or a position in $all.
 * `end` remembers where that was, so that what comes between the group's creation and a restart of the server is not lost.
 */
export type GroupStart = Readonly<{ kind: 'at'; first: number }> | Readonly<{ kind: 'end'; last: number }>;

export type GroupId = Readonly<{ eventSource: string; groupName: string }>;

export type GroupConfig = GroupId & Readonly<{ start: GroupStart; settings: GroupSettings; filter?: GroupFilter }>;

export const allEvents = '$all';

export const strategyNames: ReadonlySet<string> = new Set([
  'RoundRobin',
  'DispatchToSingle',
  'Pinned',
  'PinnedByCorrelation',
]);

/** Also what clients know as the id of the subscription. */
export const keyOf = ({ eventSource, groupName }: GroupId): string => `${eventSource}::${groupName}`;

export const checkpointStreamOf = (id: GroupId): string => `$persistentsubscription-${keyOf(id)}-checkpoint`;
export const parkedStreamOf = (id: GroupId): string => `$persistentsubscription-${keyOf(id)}-parked`;

/** As checkpoints and statistics state it: `5`, or `C:5/P:5` in $all. */
export const formatPlace = (eventSource: string, place: number): string =>
  eventSource === allEvents ? `C:${place}/P:${place}` : String(place);

export const parsePlace = (text: string): number | undefined => {
  const [, inAll, inStream] = /^(?:C:(\d{1,15})\/P:\d+|(\d{1,15}))$/.exec(text) ?? [];
  const place = inAll ?? inStream;
  return place === undefined ? undefined : Number(place);
};

/** Why a group cannot have these settings; undefined if it can. */
export const problemWith = (settings: GroupSettings): string | undefined => {
  if (!strategyNames.has(settings.strategy)) return `Consumer strategy ${settings.strategy} does not exist.`;
  const negative = Object.entries(settings).find(([, value]) => typeof value === 'number' && value < 0);
  if (negative) return `The setting ${negative[0]} must not be negative.`;
  if (settings.readBatchSize >= settings.historyBufferSize) {
    return 'The read batch size must be smaller than the history buffer size.';
  }
  return undefined;
};
