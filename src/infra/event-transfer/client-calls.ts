import { setTimeout as delay } from 'node:timers/promises';
import type { EventStoreDBClient } from '@eventstore/db-client';
import streamsGrpc from '@eventstore/db-client/generated/streams_grpc_pb.js';
import type { BatchAppendReq, BatchAppendResp, ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js';
import type { CallOptions, Channel, ClientDuplexStream, ClientReadableStream, Metadata } from '@grpc/grpc-js';

type Streams = InstanceType<typeof streamsGrpc.StreamsClient>;

/** What the client's own commands are made of. */
type Internals = Readonly<{
  GRPCStreamCreator: <T>(service: unknown, name: string, create: (streams: Streams) => T) => () => Promise<T>;
  callArguments: (options: object, callOptions: CallOptions) => [Metadata, CallOptions];
  getChannel: () => Promise<Channel>;
}>;

// The client's commands parse the JSON of what they read and write it anew: numbers beyond 2^53 would come out changed,
// and with them the bytes that checksums cover. The calls below them carry the bytes, over the client's own connection.
const internalsOf = (client: EventStoreDBClient): Internals => client as unknown as Internals;

const withoutDeadline: CallOptions = { deadline: Number.POSITIVE_INFINITY };

export const callRead = (client: EventStoreDBClient, request: ReadReq): Promise<ClientReadableStream<ReadResp>> => {
  const { GRPCStreamCreator, callArguments } = internalsOf(client);
  const create = (streams: Streams) => streams.read(request, ...callArguments({}, withoutDeadline));
  return GRPCStreamCreator(streamsGrpc.StreamsClient, 'read', create)();
};

export const callBatchAppend = (
  client: EventStoreDBClient,
): Promise<ClientDuplexStream<BatchAppendReq, BatchAppendResp>> => {
  const { GRPCStreamCreator, callArguments } = internalsOf(client);
  const create = (streams: Streams) => streams.batchAppend(...callArguments({}, withoutDeadline));
  return GRPCStreamCreator(streamsGrpc.StreamsClient, 'batchAppend', create)();
};

const disposeTimeoutMs = 1_000;

/** Ends a client with its connection, which its own `dispose` leaves open: a program could not end by itself. */
export const closeClient = async (client: EventStoreDBClient): Promise<void> => {
  // It waits for calls that were broken off, some of which never tell that they are over.
  await Promise.race([client.dispose(), delay(disposeTimeoutMs, undefined, { ref: false })]);
  const channel = await internalsOf(client)
    .getChannel()
    .catch(() => undefined);
  channel?.close();
};
