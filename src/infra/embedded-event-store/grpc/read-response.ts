import { bytesField, emptyField, headerField, message, textField, varintField } from '../wire.ts';

// Field numbers of event_store.client.streams.ReadResp and of its ReadEvent.
const response = { event: 1, confirmation: 2, checkpoint: 3, streamNotFound: 4, caughtUp: 8 } as const;
const readEvent = { event: 1, link: 2, position: 3 } as const;

/** At least one record. `position` is that of the record which was read: of the link, if there is one. */
export type DeliveredEvent = Readonly<{ event?: Uint8Array; link?: Uint8Array; position: number }>;

const recordField = (field: number, record: Uint8Array | undefined): readonly Uint8Array[] =>
  record ? [headerField(field, record.length), record] : [];

/** The fields of a ReadEvent, the same in each service that has one: the stored bytes between headers. */
export const readEventFields = ({ event, link, position }: DeliveredEvent): readonly Uint8Array[] => [
  ...recordField(readEvent.event, event),
  ...recordField(readEvent.link, link),
  varintField(readEvent.position, position),
];

/** Copies the stored bytes once. */
export const eventResponse = (delivered: DeliveredEvent): Buffer => {
  const chunks = readEventFields(delivered);
  const sizeBytes = chunks.reduce((sum, { length }) => sum + length, 0);
  return message(headerField(response.event, sizeBytes), ...chunks);
};

export const confirmationResponse = (subscriptionId: string): Buffer =>
  bytesField(response.confirmation, textField(1, subscriptionId));

export const checkpointResponse = (position: number): Buffer =>
  bytesField(response.checkpoint, message(varintField(1, position), varintField(2, position)));

export const streamNotFoundResponse = (streamName: string): Buffer =>
  bytesField(response.streamNotFound, bytesField(1, textField(3, streamName)));

export const caughtUpResponse = (): Uint8Array => emptyField(response.caughtUp);
