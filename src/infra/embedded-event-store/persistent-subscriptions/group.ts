import type { StoredEvent } from '../event-reader.ts';
import type { EventStorage } from '../event-storage.ts';
import { StorageClosed } from '../group-commit.ts';
import { eventIdOf } from '../recorded-event.ts';
import { Backlog, type Offered } from './backlog.ts';
import { Checkpoints } from './checkpoints.ts';
import { Consumer, type ConsumerLink } from './consumer.ts';
import { type ConsumerStrategy, createStrategy } from './consumer-strategy.ts';
import type { GroupConfig } from './group-config.ts';
import { GroupRefused } from './group-refused.ts';
import type { Message } from './message.ts';
import { OutMessages } from './out-messages.ts';
import { ParkedMessages } from './parked-messages.ts';
import { type BucketOf, createBucketOf } from './pinned.ts';
import { ReadAhead } from './read-ahead.ts';

export type NackAction = 'park' | 'retry' | 'skip';

// As the server that this one follows does, for a batch size of 0.
const defaultBatchSize = 20;
const maxBatchSize = 400;
/** How soon parking is tried again when it failed, say because the disk is full. */
const parkAgainMs = 1000;

/**
 * A group of competing consumers: each event goes to one of them, and again to one of them until somebody has dealt with
 * it. Memory holds places in the log only, and of those no more than the buffers and the consumers' slots take.
 *
 * | a message is | until |
 * |---|---|
 * | in the backlog | a consumer has room for it |
 * | out | it is acknowledged, or comes back: refused, too late, its consumer gone |
 * | parked | a replay hands it out again |
 */
export class Group {
  readonly config: GroupConfig;
  readonly parked: ParkedMessages;
  readonly backlog = new Backlog();
  readonly out = new OutMessages();
  readonly strategy: ConsumerStrategy;
  readonly #storage: EventStorage;
  readonly #ahead: ReadAhead;
  readonly #bucketOf: BucketOf;
  readonly #checkpoints: Checkpoints;
  readonly #stopListening: () => void;
  #scheduled = false;
  #closed = false;
  #fault = '';
  readonly #resumedAfter: number | undefined;
  totalItems = 0;
  readonly createdAtMs = performance.now();

  /** `resumeAfter`: what was dealt with before, by a predecessor of this configuration or a run before this one. */
  constructor(storage: EventStorage, config: GroupConfig, resumeAfter: number | undefined) {
    this.config = config;
    this.#storage = storage;
    this.#ahead = new ReadAhead(storage, config, resumeAfter);
    this.#bucketOf = createBucketOf(config.settings.strategy, storage.reader);
    this.#checkpoints = new Checkpoints(storage, config);
    this.strategy = createStrategy(config.settings.strategy);
    this.parked = new ParkedMessages(storage, config);
    this.#resumedAfter = resumeAfter;
    this.#stopListening = this.#ahead.onChange(this.wake);
    this.wake();
  }

  get isLive(): boolean {
    return this.#ahead.isLive;
  }

  /** Up to which everything is dealt with, stored or not yet. */
  get done(): number | undefined {
    return this.#ahead.done?.place;
  }

  get lastKnown(): number | undefined {
    return this.#ahead.lastKnown;
  }

  get lastCheckpoint(): number | undefined {
    return this.#checkpoints.last ?? this.#resumedAfter;
  }

  get consumers(): readonly Consumer[] {
    return [...this.strategy.consumers];
  }

  /** Throws `GroupRefused`. */
  connect(link: ConsumerLink): Consumer {
    const { maxSubscriberCount, extraStatistics } = this.config.settings;
    if (this.#fault !== '') throw new GroupRefused('failed', this.config, this.#fault);
    if (maxSubscriberCount > 0 && this.consumers.length >= maxSubscriberCount) {
      throw new GroupRefused('full', this.config);
    }
    const consumer = new Consumer(link, extraStatistics);
    this.strategy.add(consumer);
    this.wake();
    return consumer;
  }

  /** What it had not answered for is for others now. */
  disconnect(consumer: Consumer): void {
    this.strategy.remove(consumer);
    for (const message of this.out.takeFrom(consumer)) this.#again(message);
    this.wake();
  }

  /** Whoever it was sent to: an answer counts from everybody, and nothing if the message is not out. */
  acknowledge(ids: readonly string[]): void {
    for (const id of ids) {
      const message = this.out.take(id);
      if (message) this.#settle(message);
    }
    this.wake();
  }

  refuse(ids: readonly string[], action: NackAction, reason: string): void {
    this.#orFail(() => {
      for (const id of ids) {
        const message = this.out.take(id);
        if (!message) continue;
        if (action === 'park') this.#park(message, `Client explicitly NAK'ed message.\n${reason}`);
        else if (action === 'skip') this.#settle(message);
        else this.#againOrPark(message);
      }
    });
    this.wake();
  }

  replayParked(stopAt: number | undefined): void {
    this.parked.replay(stopAt);
    this.wake();
  }

  /** Once a second. */
  tick(): void {
    this.#orFail(() => {
      for (const message of this.out.takeLate(performance.now())) this.#againOrPark(message);
    });
    this.#inBackground(this.parked.truncate());
    this.#checkpoint(true);
    this.wake();
  }

  /** At most once a turn of the loop, however many ask for it. */
  readonly wake = (): void => {
    if (this.#scheduled || this.#closed || this.#fault !== '') return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#turn();
    });
  };

  /** For good. Lets go of its consumers. */
  stop(): void {
    this.#closed = true;
    this.#stopListening();
    this.#dropAll();
  }

  /** Resolves once it is on disk what was dealt with. */
  async store(): Promise<void> {
    await Promise.all([this.#checkpoints.write(this.#ahead.done), this.parked.truncate()]);
  }

  #turn(): void {
    if (this.#closed) return;
    this.#orFail(() => {
      this.#send();
      if (this.#readAhead()) this.wake();
      this.#checkpoint(false);
    });
  }

  /** What cannot be read, damaged or deleted for ever, ends this group, not the store. */
  #orFail(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
      this.#dropAll();
    }
  }

  #send(): void {
    const { readBatchSize } = this.config.settings;
    let hasRoom = this.backlog.offerRetries(this.#offer);
    while (hasRoom && this.parked.isReplaying && this.backlog.retryCount < Math.max(readBatchSize, 1)) {
      for (const event of this.parked.handOut(readBatchSize || defaultBatchSize)) {
        this.backlog.addRetry(this.#messageOf(event, undefined));
      }
      hasRoom = this.backlog.offerRetries(this.#offer);
    }
    if (hasRoom) this.backlog.offerFresh(this.#offer);
  }

  readonly #offer = (message: Message): Offered => {
    if (this.out.has(message.id)) return 'later'; // ids are unique in a stream, not in the log
    const consumer = this.strategy.choose(message);
    if (!(consumer instanceof Consumer)) return consumer;
    const record = this.#storage.reader.recordAt(message.event.position);
    if (!record) {
      this.#settle(message); // the event is gone for good, there is nothing left to deal with
      return 'taken';
    }
    const { messageTimeoutMs } = this.config.settings;
    this.out.add(message, consumer, messageTimeoutMs > 0 ? messageTimeoutMs : Number.POSITIVE_INFINITY);
    this.totalItems += 1;
    consumer.take(message, { ...message.event, record }, this.#followsLinks(message));
    return 'taken';
  };

  /** Returns whether it is worth looking again. */
  #readAhead(): boolean {
    const { readBatchSize, historyBufferSize } = this.config.settings;
    if (historyBufferSize - this.backlog.freshCount - this.backlog.retryCount <= readBatchSize) {
      this.#ahead.noRoom();
      return false;
    }
    const { events, more } = this.#ahead.look(Math.min(readBatchSize || defaultBatchSize, maxBatchSize));
    for (const { event, sequence } of events) this.backlog.addFresh(this.#messageOf(event, sequence));
    return more;
  }

  #messageOf({ record, ...event }: StoredEvent, sequence: number | undefined): Message {
    const followsLinks = this.#followsLinks({ sequence });
    const bucket = this.#bucketOf({ ...event, record }, followsLinks);
    return { id: eventIdOf(record), event, bucket, retryCount: 0, sequence };
  }

  /** What is parked is a link of the group's own making. */
  #followsLinks({ sequence }: Pick<Message, 'sequence'>): boolean {
    return this.config.settings.resolveLinks || sequence === undefined;
  }

  #settle(message: Message): void {
    if (message.sequence === undefined) this.parked.settle(message.event.revision);
    else this.#ahead.settle(message.sequence);
  }

  #again(message: Message): void {
    this.backlog.addRetry({ ...message, retryCount: message.retryCount + 1 });
  }

  #againOrPark(message: Message): void {
    const { maxRetryCount } = this.config.settings;
    if (message.retryCount < maxRetryCount) this.#again(message);
    else this.#park(message, `Reached retry count of ${maxRetryCount}`);
  }

  /** It counts as dealt with once it is on disk as parked. */
  #park(message: Message, reason: string): void {
    const record = this.#storage.reader.recordAt(message.event.position);
    if (!record) {
      this.#settle(message);
      return;
    }
    const parked = this.parked.park({ ...message.event, record }, this.#followsLinks(message), reason).then(
      () => {
        this.#settle(message);
        this.wake();
      },
      (error: unknown) => {
        if (!(error instanceof StorageClosed)) this.out.add(message, undefined, parkAgainMs);
      },
    );
    this.#inBackground(parked);
  }

  #checkpoint(onTick: boolean): void {
    this.#inBackground(this.#checkpoints.writeIfDue(this.#ahead.done, onTick));
  }

  /** A write that fails is tried again later: until then it costs no more than messages that are sent twice. */
  #inBackground(work: Promise<void>): void {
    work.catch(() => undefined);
  }

  #dropAll(): void {
    for (const consumer of this.consumers) {
      consumer.drop();
      this.strategy.remove(consumer);
    }
  }
}
