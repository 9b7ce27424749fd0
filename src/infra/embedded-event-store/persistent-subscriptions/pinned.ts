import type { EventReader, StoredEvent } from '../event-reader.ts';
import { linkTargetOf } from '../grpc/link-resolver.ts';
import { customMetadataOf, dataOf } from '../recorded-event.ts';
import type { Consumer } from './consumer.ts';
import type { Message } from './message.ts';

const bucketCount = 1024;

// FNV-1a, 32 bit: http://www.isthe.com/chongo/tech/comp/fnv/
const hash = (text: string): number => {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
};

const linkType = '$>';

/** Of a link the stream it points to, whether that is still there or not. */
const streamOf = ({ type, record, streamName }: StoredEvent): string => {
  if (type !== linkType) return streamName;
  const target = dataOf(record).toString('utf8');
  return target.slice(target.indexOf('@') + 1);
};

const correlationOf = (record: Uint8Array): string | undefined => {
  try {
    const metadata: unknown = JSON.parse(customMetadataOf(record).toString('utf8'));
    if (typeof metadata !== 'object' || metadata === null || !('$correlationId' in metadata)) return undefined;
    return typeof metadata.$correlationId === 'string' ? metadata.$correlationId : undefined;
  } catch {
    return undefined; // metadata is the client's, it need not be JSON
  }
};

const resolved = (reader: EventReader, event: StoredEvent): StoredEvent => {
  const target = event.type === linkType ? linkTargetOf(event.record) : undefined;
  return (target && reader.streamEvent(target.streamName, target.revision)) ?? event;
};

export type BucketOf = (event: StoredEvent, resolveLinks: boolean) => number;

/** What decides which messages have to go to the same consumer. */
export const createBucketOf = (strategy: string, reader: EventReader): BucketOf => {
  if (strategy === 'Pinned') return (event) => hash(streamOf(event)) % bucketCount;
  if (strategy !== 'PinnedByCorrelation') return () => 0;
  return (event, resolveLinks) => {
    const { record } = resolveLinks ? resolved(reader, event) : event;
    return hash(correlationOf(record) ?? streamOf(event)) % bucketCount;
  };
};

/** Each bucket has its consumer, for as long as that stays; a newcomer takes over its share. */
export class Pinned {
  readonly consumers = new Set<Consumer>();
  readonly #owners = new Map<number, Consumer>();

  add(consumer: Consumer): void {
    this.consumers.add(consumer);
    const share = Math.ceil(this.#owners.size / this.consumers.size);
    for (const other of this.consumers) {
      const surplus = this.#bucketsOf(other).slice(share);
      for (const bucket of surplus) this.#owners.set(bucket, consumer);
    }
  }

  remove(consumer: Consumer): void {
    this.consumers.delete(consumer);
    for (const bucket of this.#bucketsOf(consumer)) this.#owners.delete(bucket);
  }

  choose({ bucket }: Message): Consumer | 'later' | 'no-room' {
    if (![...this.consumers].some((consumer) => consumer.hasRoom)) return 'no-room';
    const owner = this.#owners.get(bucket) ?? this.#assign(bucket);
    return owner?.hasRoom ? owner : 'later';
  }

  #assign(bucket: number): Consumer | undefined {
    const loads = new Map(Array.from(this.consumers, (consumer) => [consumer, 0]));
    for (const owner of this.#owners.values()) loads.set(owner, (loads.get(owner) ?? 0) + 1);
    const [least] = [...loads].toSorted(([, one], [, other]) => one - other);
    if (least) this.#owners.set(bucket, least[0]);
    return least?.[0];
  }

  /** Those with unanswered messages first: they are the last to change hands. */
  #bucketsOf(consumer: Consumer): number[] {
    const { busyBuckets } = consumer;
    const buckets = Array.from(this.#owners).flatMap(([bucket, owner]) => (owner === consumer ? [bucket] : []));
    return buckets.toSorted((one, other) => Number(busyBuckets.has(other)) - Number(busyBuckets.has(one)));
  }
}
