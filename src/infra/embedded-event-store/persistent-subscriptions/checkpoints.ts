import type { EventStorage } from '../event-storage.ts';
import { dataOf } from '../recorded-event.ts';
import { checkpointStreamOf, formatPlace, type GroupConfig, type GroupId, parsePlace } from './group-config.ts';
import type { Done } from './progress.ts';
import { appendSystemEvent, systemEvent, writeFirstMetadata } from './stored-config.ts';

const checkpointEventType = '$SubscriptionCheckpoint';
const checkpointMetadata = JSON.stringify({
  $maxCount: 2,
  $acl: { $r: '$admins', $w: '$admins', $d: '$admins', $mr: '$all', $mw: '$admins' },
});

/** The place up to which a group was done, as it last stored it. */
export const loadCheckpoint = ({ reader }: EventStorage, id: GroupId): number | undefined => {
  const streamName = checkpointStreamOf(id);
  if (reader.isMissing(streamName) || reader.isDeleted(streamName)) return undefined;
  const { to } = reader.visibleRange(streamName);
  const [last] = reader.streamPage(streamName, { from: to, to }, 'forwards');
  if (last?.type !== checkpointEventType) return undefined;
  return parsePlace(dataOf(last.record).toString('utf8').replaceAll('"', ''));
};

/** Writes down how far a group is, now and then: what follows the last checkpoint is sent again after a restart. */
export class Checkpoints {
  readonly #storage: EventStorage;
  readonly #config: GroupConfig;
  #last: Done = { sequence: -1, place: -1 };
  #lastAtMs = Number.NEGATIVE_INFINITY;
  #writing = false;

  constructor(storage: EventStorage, config: GroupConfig) {
    this.#storage = storage;
    this.#config = config;
  }

  /** Of those written by this run. */
  get last(): number | undefined {
    return this.#last.sequence < 0 ? undefined : this.#last.place;
  }

  /** `onTick`: the clock, not an answer of a consumer, is the reason to look. */
  async writeIfDue(done: Done | undefined, onTick: boolean): Promise<void> {
    const { minCheckpointCount, maxCheckpointCount, checkpointAfterMs } = this.#config.settings;
    const ahead = (done?.sequence ?? -1) - this.#last.sequence;
    const waitedMs = performance.now() - this.#lastAtMs;
    const isTime = onTick && checkpointAfterMs > 0 && waitedMs >= checkpointAfterMs && ahead >= minCheckpointCount;
    if (ahead >= maxCheckpointCount || isTime) await this.write(done);
  }

  async write(done: Done | undefined): Promise<void> {
    if (!done || this.#writing || done.sequence <= this.#last.sequence) return;
    this.#writing = true;
    try {
      const streamName = checkpointStreamOf(this.#config);
      const place = formatPlace(this.#config.eventSource, done.place);
      await Promise.all([
        writeFirstMetadata(this.#storage, streamName, checkpointMetadata),
        appendSystemEvent(this.#storage, streamName, systemEvent(checkpointEventType, JSON.stringify(place))),
      ]);
      this.#last = done;
      this.#lastAtMs = performance.now();
    } finally {
      this.#writing = false;
    }
  }
}
