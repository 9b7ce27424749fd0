import streams from '@eventstore/db-client/generated/streams_pb.js';
import { makeGenericClientConstructor, type ServiceDefinition } from '@grpc/grpc-js';

const asBytes = (bytes: Buffer): Buffer => bytes;
const common = { requestStream: false, requestSerialize: asBytes, requestDeserialize: asBytes } as const;

/** Both sides of it: the server hands on bytes, the client decodes the stream as clients of the event store do. */
export const bareGrpc = {
  empty: {
    ...common,
    path: '/bare.Bare/Empty',
    responseStream: false,
    responseSerialize: asBytes,
    responseDeserialize: asBytes,
  },
  repeat: {
    ...common,
    path: '/bare.Bare/Repeat',
    responseStream: true,
    responseSerialize: asBytes,
    responseDeserialize: (bytes: Buffer) => streams.ReadResp.deserializeBinary(bytes),
  },
} satisfies ServiceDefinition;

export const BareGrpcClient = makeGenericClientConstructor(bareGrpc, 'bare');
