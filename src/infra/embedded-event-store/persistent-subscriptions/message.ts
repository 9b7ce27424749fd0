import type { StoredEvent } from '../event-reader.ts';

/**
 * An event on its way to a consumer. Where to find it, not the event itself: what waits, or is out for acknowledgement,
 * must not fill the memory.
 */
export type Message = Readonly<{
  /** By which it is acknowledged: of the link if it is one. */
  id: string;
  event: Omit<StoredEvent, 'record'>;
  /** Messages with the same number are for the same consumer, if the strategy asks for that. */
  bucket: number;
  retryCount: number;
  /** Place in the order in which the group read its events. None: it was parked and is sent again. */
  sequence: number | undefined;
}>;
