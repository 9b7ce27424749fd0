import type { EventReader, StoredEvent } from '../event-reader.ts';
import { dataOf, withStructuredId } from '../recorded-event.ts';
import type { DeliveredEvent } from './read-response.ts';

/** The payload of a link: `<revision>@<stream>`. */
const parseTarget = (record: Uint8Array): Readonly<{ revision: number; streamName: string }> | undefined => {
  const [, revision, streamName] = /^(\d{1,15})@(.+)$/s.exec(dataOf(record).toString('utf8')) ?? [];
  return revision === undefined || streamName === undefined ? undefined : { revision: Number(revision), streamName };
};

/** An event in the form one reader asked for. A link whose target is gone is delivered alone. */
export const createDelivery =
  (reader: EventReader, asked: Readonly<{ resolveLinks: boolean; structuredIds: boolean }>) =>
  ({ position, type, record }: StoredEvent): DeliveredEvent => {
    const shaped = asked.structuredIds ? withStructuredId : (bytes: Uint8Array) => bytes;
    const target = asked.resolveLinks && type === '$>' ? parseTarget(record) : undefined;
    if (!target) return { event: shaped(record), position };
    const linked = reader.streamEvent(target.streamName, target.revision);
    return { ...(linked && { event: shaped(linked.record) }), link: shaped(record), position };
  };
