import { once } from 'node:events';
import type { TestContext } from 'node:test';
import sharedPb from '@eventstore/db-client/generated/shared_pb.js';
import streamsGrpc from '@eventstore/db-client/generated/streams_grpc_pb.js';
import type { BatchAppendReq, BatchAppendResp, ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js';
import streamsPb from '@eventstore/db-client/generated/streams_pb.js';
import { type ClientDuplexStream, credentials, type ServiceError } from '@grpc/grpc-js';

/** The bare stub: for requests which the client library never sends. */
export const connectRaw = (t: TestContext, port: number) => {
  const stub = new streamsGrpc.StreamsClient(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(() => stub.close());
  return stub;
};

export const streamNamed = (name: string) => new sharedPb.StreamIdentifier().setStreamName(Buffer.from(name));
export const uuid = (text: string) => new sharedPb.UUID().setString(text);
export const empty = () => new sharedPb.Empty();

export const proposed = (id: string, type: string | undefined = 'Happened') => {
  const message = new streamsPb.BatchAppendReq.ProposedMessage().setId(uuid(id)).setData(Buffer.from('{}'));
  if (type !== undefined) message.getMetadataMap().set('type', type);
  message.getMetadataMap().set('content-type', 'application/json');
  return message;
};

/** Collects the answers of one BatchAppend call. */
export class BatchCall {
  readonly answers: BatchAppendResp[] = [];
  readonly call: ClientDuplexStream<BatchAppendReq, BatchAppendResp>;
  error: ServiceError | undefined;
  ended = false;

  constructor(call: ClientDuplexStream<BatchAppendReq, BatchAppendResp>) {
    this.call = call;
    call.on('data', (answer: BatchAppendResp) => this.answers.push(answer));
    call.on('error', (error: ServiceError) => {
      this.error = error;
    });
    call.on('end', () => {
      this.ended = true;
    });
  }

  async answered(count: number): Promise<BatchAppendResp[]> {
    while (this.answers.length < count) await once(this.call, 'data', { signal: AbortSignal.timeout(10_000) });
    return this.answers;
  }
}

export const readOptions = () => {
  const options = new streamsPb.ReadReq.Options();
  return options
    .setUuidOption(new streamsPb.ReadReq.Options.UUIDOption().setString(empty()))
    .setNoFilter(new sharedPb.Empty())
    .setCount('100');
};

export const fromStartOf = (name: string) =>
  new streamsPb.ReadReq.Options.StreamOptions().setStreamIdentifier(streamNamed(name)).setStart(empty());

export const readRaw = async (
  stub: InstanceType<typeof streamsGrpc.StreamsClient>,
  options: ReadReq.Options,
): Promise<ReadResp[]> => {
  const responses: ReadResp[] = [];
  for await (const response of stub.read(new streamsPb.ReadReq().setOptions(options))) responses.push(response);
  return responses;
};
