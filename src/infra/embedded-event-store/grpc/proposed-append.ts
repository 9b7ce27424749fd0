import type { AppendReq, BatchAppendReq } from '@eventstore/db-client/generated/streams_pb.js';
import type { ProposedEvent } from '../recorded-event.ts';
import { eventSizeBytes, readProposedEvent } from './proposed-event.ts';
import { maximumAppendSizeExceeded } from './rpc-error.ts';
import type { AppendLimits } from './service.ts';

/** The events of one append as they arrive, in one or many messages. */
export class ProposedAppend {
  readonly events: ProposedEvent[] = [];
  readonly #limits: AppendLimits;
  #sizeBytes = 0;

  constructor(limits: AppendLimits) {
    this.#limits = limits;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Throws `RpcError` for an event that cannot be stored, and as soon as the append has become too big. */
  add(message: AppendReq.ProposedMessage | BatchAppendReq.ProposedMessage): void {
    const event = readProposedEvent(message);
    this.#sizeBytes += eventSizeBytes(event, this.#limits.appendSizeRule);
    if (this.#sizeBytes > this.#limits.maxAppendSizeBytes) {
      throw maximumAppendSizeExceeded(this.#limits.maxAppendSizeBytes);
    }
    this.events.push(event);
  }
}
