import type { ReadReq } from '@eventstore/db-client/generated/persistent_pb.js';
import persistent from '@eventstore/db-client/generated/persistent_pb.js';
import type { UUID } from '@eventstore/db-client/generated/shared_pb.js';
import type { Metadata, ServerDuplexStream } from '@grpc/grpc-js';
import type { StoredEvent } from '../event-reader.ts';
import type { Consumer, ConsumerLink } from '../persistent-subscriptions/consumer.ts';
import type { Group, NackAction } from '../persistent-subscriptions/group.ts';
import { keyOf } from '../persistent-subscriptions/group-config.ts';
import { GroupRefused } from '../persistent-subscriptions/group-refused.ts';
import type { Groups } from '../persistent-subscriptions/groups.ts';
import { type Caller, requireAccess } from '../security/authoriser.ts';
import { bytesField, message, textField, varintField } from '../wire.ts';
import { createDelivery } from './link-resolver.ts';
import { readGroupId } from './persistent-calls.ts';
import { toPersistentError } from './persistent-error.ts';
import { readEventId } from './proposed-event.ts';
import { readEventFields } from './read-response.ts';
import { invalidArgument, type RpcError } from './rpc-error.ts';
import type { Service } from './service.ts';

type Call = ServerDuplexStream<ReadReq, Uint8Array>;

// Field numbers of event_store.client.persistent_subscriptions.ReadResp and of its ReadEvent.
const response = { event: 1, confirmation: 2 } as const;
const retryCountField = 5;

const { UNKNOWN, PARK, RETRY, SKIP, STOP } = persistent.ReadReq.Nack.Action;

/** "Stop" lets go of the message and does nothing else, as on the server that this one follows. */
const nackActions: ReadonlyMap<number, NackAction> = new Map([
  [UNKNOWN, 'retry'],
  [PARK, 'park'],
  [RETRY, 'retry'],
  [SKIP, 'skip'],
  [STOP, 'skip'],
]);

/** For statistics only: who it really is, `identify` has found out. */
const userNameOf = (metadata: Metadata): string => {
  const [, encoded] = /^Basic (\S+)$/i.exec(String(metadata.get('authorization')[0] ?? '')) ?? [];
  const [name] = Buffer.from(encoded ?? '', 'base64')
    .toString('utf8')
    .split(':');
  return name || 'anonymous';
};

const readIds = (ids: readonly UUID[]): readonly string[] => ids.map(readEventId);

/** One consumer: what it may do is asked once, its first message says of which group, all others answer for events. */
class PersistentReadSession {
  readonly #service: Service;
  readonly #groups: Groups;
  readonly #call: Call;
  readonly #caller: Promise<Caller>;
  #joined: Readonly<{ group: Group; consumer: Consumer }> | undefined;
  #closed = false;

  constructor(service: Service, groups: Groups, call: Call) {
    this.#service = service;
    this.#groups = groups;
    this.#call = call;
    this.#caller = service.authoriser.identify(call.metadata);
    this.#caller.catch((error: unknown) => this.close(toPersistentError(error)));
  }

  receive(request: ReadReq): void {
    if (this.#closed) return;
    const options = request.getOptions();
    if (options) {
      this.#call.pause(); // nothing can be answered for before it has joined
      this.#caller
        .then((caller) => this.#join(options, caller))
        .then(() => this.#call.resume())
        .catch((error: unknown) => this.close(toPersistentError(error)));
    } else this.#answer(request);
  }

  drained(): void {
    this.#joined?.group.wake();
  }

  close(error?: RpcError): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#joined) this.#joined.group.disconnect(this.#joined.consumer);
    if (error) this.#call.emit('error', error);
  }

  #join(options: ReadReq.Options, caller: Caller): void {
    if (this.#closed) return;
    if (this.#joined) throw invalidArgument('The subscription has begun already.');
    const id = readGroupId(options);
    requireAccess(caller, 'read', id.eventSource);
    if (options.getBufferSize() < 1) throw invalidArgument('The buffer size of a consumer must be 1 or more.');
    const group = this.#groups.find(id);
    const consumer = group.connect(this.#linkFor(options, caller));
    this.#joined = { group, consumer };
    this.#call.write(bytesField(response.confirmation, textField(1, keyOf(id))));
  }

  #linkFor(options: ReadReq.Options, caller: Caller): ConsumerLink {
    const { metadata } = this.#call;
    const mayRead = (streamName: string) => caller.may('read', streamName);
    // Without a word about them ids are sent as two numbers, the form that came first.
    const structuredIds = !options.getUuidOption()?.hasString();
    return {
      connectionName: String(metadata.get('connection-name')[0] ?? '<unknown>'),
      from: this.#call.getPeer(),
      userName: userNameOf(metadata),
      bufferSize: options.getBufferSize(),
      isReady: () => !this.#call.writableNeedDrain,
      send: (event, { resolveLinks, retryCount }) =>
        this.#send(event, { resolveLinks, structuredIds, mayRead }, retryCount),
      drop: () => this.close(toPersistentError(new GroupRefused('dropped', readGroupId(options)))),
    };
  }

  #send(event: StoredEvent, asked: Parameters<typeof createDelivery>[1], retryCount: number): void {
    if (this.#closed) return;
    const delivery = createDelivery(this.#service.storage.reader, asked)(event);
    const fields = message(...readEventFields(delivery), varintField(retryCountField, retryCount));
    this.#call.write(bytesField(response.event, fields));
  }

  #answer(request: ReadReq): void {
    const ack = request.getAck();
    const nack = request.getNack();
    if (!this.#joined) throw invalidArgument('A subscription begins with its options.');
    const { group } = this.#joined;
    if (ack) group.acknowledge(readIds(ack.getIdsList()));
    if (nack) {
      const action = nackActions.get(nack.getAction());
      if (!action) throw invalidArgument('Unknown action.');
      group.refuse(readIds(nack.getIdsList()), action, nack.getReason());
    }
  }
}

/** Read: takes part in a group until either side ends the call. */
export const createPersistentReadCall =
  (service: Service, groups: Groups) =>
  (call: Call): void => {
    const session = new PersistentReadSession(service, groups, call);
    const unregister = service.calls.add((error) => session.close(error));
    const forget = () => {
      unregister();
      session.close();
    };
    call.on('data', (request: ReadReq) => {
      try {
        session.receive(request);
      } catch (error) {
        session.close(toPersistentError(error));
      }
    });
    call.on('drain', () => session.drained());
    // Whoever sends no more can answer for no event: nothing is left to be sent to it.
    call.on('end', () => {
      forget();
      call.end();
    });
    call.on('cancelled', forget);
    call.on('close', forget);
  };
