import type { EventReader, StoredEvent } from '../event-reader.ts';
import { dataOf, withStructuredId } from '../recorded-event.ts';
import type { DeliveredEvent } from './read-response.ts';

/** The payload of a link: `<revision>@<stream>`. */
export const linkTargetOf = (record: Uint8Array): Readonly<{ revision: number; streamName: string }> | undefined => {
  const [, revision, streamName] = /^(\d{1,15})@(.+)$/s.exec(dataOf(record).toString('utf8')) ?? [];
  return revision === undefined || streamName === undefined ? undefined : { revision: Number(revision), streamName };
};

type Asked = Readonly<{ resolveLinks: boolean; structuredIds: boolean; mayRead: (streamName: string) => boolean }>;

/** An event in the form one reader asked for. A link whose target is gone, or closed to the reader, is delivered alone. */
export const createDelivery =
  (reader: EventReader, asked: Asked) =>
  ({ position, type, record }: StoredEvent): DeliveredEvent => {
    const shaped = asked.structuredIds ? withStructuredId : (bytes: Uint8Array) => bytes;
    const target = asked.resolveLinks && type === '$>' ? linkTargetOf(record) : undefined;
    if (!target) return { event: shaped(record), position };
    const { streamName, revision } = target;
    const linked = asked.mayRead(streamName) ? reader.streamEvent(streamName, revision) : undefined;
    return { ...(linked && { event: shaped(linked.record) }), link: shaped(record), position };
  };
