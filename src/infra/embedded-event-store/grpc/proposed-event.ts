import type { UUID } from '@eventstore/db-client/generated/shared_pb.js';
import type { AppendReq, BatchAppendReq } from '@eventstore/db-client/generated/streams_pb.js';
import { eventIdFromBits, normaliseEventId } from '../event-id.ts';
import type { ProposedEvent } from '../recorded-event.ts';
import { invalidArgument, missingEventProperty } from './rpc-error.ts';

/** How the size of an append is counted against its limit: servers up to 23.10 counted the payloads only. */
export type AppendSizeRule = 'whole-event' | 'data-only';

export const readEventId = (uuid: UUID | undefined): string => {
  const structured = uuid?.getStructured();
  const id = structured
    ? eventIdFromBits(structured.getMostSignificantBits(), structured.getLeastSignificantBits())
    : normaliseEventId(uuid?.getString() ?? '');
  if (id === undefined) throw invalidArgument('An event id is not a UUID.');
  return id;
};

/** Throws `RpcError` if the event lacks what every event must have. */
export const readProposedEvent = (
  message: AppendReq.ProposedMessage | BatchAppendReq.ProposedMessage,
): ProposedEvent => {
  const metadata = message.getMetadataMap();
  const type = metadata.get('type');
  const contentType = metadata.get('content-type');
  if (type === undefined || contentType === undefined) throw missingEventProperty();
  return {
    id: readEventId(message.getId()),
    type,
    contentType,
    data: message.getData_asU8(),
    customMetadata: message.getCustomMetadata_asU8(),
  };
};

export const eventSizeBytes = ({ data, customMetadata, type }: ProposedEvent, rule: AppendSizeRule): number =>
  rule === 'data-only' ? data.length : data.length + customMetadata.length + 2 * type.length;
