import type { ConsumerInfo } from './consumer.ts';
import type { Group } from './group.ts';
import { formatPlace, type GroupConfig } from './group-config.ts';

export type Rate = Readonly<{ perSecond: number; sinceLast: number; total: number }>;

/** Places as text, empty if there is none. */
export type GroupInfo = Readonly<{
  config: GroupConfig;
  status: string;
  items: Rate;
  lastCheckpoint: string;
  lastKnown: string;
  startFrom: string;
  freshCount: number;
  /** Of the fresh ones those that came while the group was at the end of its log. */
  liveCount: number;
  retryCount: number;
  inFlight: number;
  outCount: number;
  parkedCount: number;
  consumers: readonly (ConsumerInfo & Readonly<{ perSecond: number }>)[];
}>;

type Measured = Readonly<{ atMs: number; total: number }>;

/** When each group was asked last: rates are those since then. */
const lastMeasured = new WeakMap<Group, Measured>();

const statusOf = (group: Group): string => {
  const state = group.isLive ? 'Live' : 'Behind';
  return group.parked.isReplaying ? `ReplayingParkedMessages, ${state}` : state;
};

/** Looking changes it: what is counted "since the last measurement" begins anew. */
export const inspectGroup = (group: Group): GroupInfo => {
  const { config, backlog, out, parked } = group;
  const { eventSource, start } = config;
  const now: Measured = { atMs: performance.now(), total: group.totalItems };
  const last = lastMeasured.get(group) ?? { atMs: group.createdAtMs, total: 0 };
  lastMeasured.set(group, now);
  const seconds = Math.max((now.atMs - last.atMs) / 1000, 0.001);
  const placeText = (place: number | undefined) => (place === undefined ? '' : formatPlace(eventSource, place));
  const sinceLast = now.total - last.total;
  const consumers = group.consumers.map((consumer) => {
    const info = consumer.inspect();
    return { ...info, perSecond: Math.floor(info.itemsSinceLast / seconds) };
  });
  return {
    config,
    status: statusOf(group),
    items: { perSecond: Math.floor(sinceLast / seconds), sinceLast, total: now.total },
    lastCheckpoint: placeText(group.lastCheckpoint),
    lastKnown: placeText(group.lastKnown),
    startFrom: formatPlace(eventSource, start.kind === 'end' ? -1 : start.first),
    freshCount: backlog.freshCount,
    liveCount: group.isLive ? Math.min(backlog.freshCount, config.settings.liveBufferSize) : 0,
    retryCount: backlog.retryCount,
    inFlight: consumers.reduce((sum, { inFlight }) => sum + inFlight, 0),
    outCount: out.count,
    parkedCount: parked.count,
    consumers,
  };
};
