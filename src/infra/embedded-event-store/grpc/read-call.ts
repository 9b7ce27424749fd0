import { randomUUID } from 'node:crypto';
import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js';
import type { ServerWritableStream } from '@grpc/grpc-js';
import type { EventStorage } from '../event-storage.ts';
import { requireAccess } from '../security/authoriser.ts';
import { followAll } from './all-subscription.ts';
import { readFinite } from './finite-read.ts';
import { type AuthorisedRead, readReadRequest } from './read-request.ts';
import { confirmationResponse } from './read-response.ts';
import { ResponseStream, StreamEnded } from './response-stream.ts';
import { streamDeleted, toRpcError } from './rpc-error.ts';
import type { Service } from './service.ts';
import { followStream } from './stream-subscription.ts';
import { WakeUp } from './wake-up.ts';

const subscribe = async (
  storage: EventStorage,
  request: AuthorisedRead,
  out: ResponseStream,
  signal: AbortSignal,
): Promise<void> => {
  const { target } = request;
  if (target.kind === 'stream' && storage.reader.isDeleted(target.streamName)) throw streamDeleted(target.streamName);
  const wakeUp = new WakeUp();
  const { changes } = storage;
  const stopListening =
    target.kind === 'all' ? changes.onAnyStream(wakeUp.knock) : changes.onStream(target.streamName, wakeUp.knock);
  signal.addEventListener('abort', wakeUp.knock, { once: true });
  try {
    await out.send(confirmationResponse(randomUUID()));
    if (target.kind === 'all') await followAll(storage, request, out, wakeUp);
    else await followStream(storage, { ...request, target }, out, wakeUp);
  } finally {
    stopListening();
  }
};

/** Read: a bounded read or a subscription, of one stream or of $all. */
export const createReadCall =
  ({ storage, calls, authoriser }: Service) =>
  (call: ServerWritableStream<ReadReq, Uint8Array>): void => {
    const ended = new AbortController();
    const end = () => ended.abort();
    call.on('cancelled', end);
    call.on('close', end);
    const unregister = calls.add((error) => {
      end();
      call.emit('error', error);
    });
    const serve = async () => {
      const caller = await authoriser.identify(call.metadata);
      const asked = readReadRequest(call.request);
      requireAccess(caller, 'read', asked.target.kind === 'all' ? '$all' : asked.target.streamName);
      const request = { ...asked, mayRead: (streamName: string) => caller.may('read', streamName) };
      const out = new ResponseStream(call, ended.signal);
      if (request.subscription) await subscribe(storage, request, out, ended.signal);
      else await readFinite(storage, request, out);
    };
    serve()
      .then(
        () => call.end(),
        (error: unknown) => {
          if (!(error instanceof StreamEnded)) call.emit('error', toRpcError(error));
        },
      )
      .finally(unregister);
  };
