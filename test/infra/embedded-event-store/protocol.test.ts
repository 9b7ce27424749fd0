import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventStoreDBClient, LEADER } from '@eventstore/db-client';
import featuresGrpc from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js';
import type { SupportedMethods } from '@eventstore/db-client/generated/serverfeatures_pb.js';
import sharedPb from '@eventstore/db-client/generated/shared_pb.js';
import streamsPb from '@eventstore/db-client/generated/streams_pb.js';
import { credentials, status } from '@grpc/grpc-js';
import { connectRaw, empty, fromStartOf, readOptions, readRaw, streamNamed } from './raw-client.ts';
import { collect, happened, startServer } from './support.ts';

const persistentSubscriptions = 'event_store.client.persistent_subscriptions.persistentsubscriptions';

test('the features list exactly what is implemented, in lower case', async (t) => {
  const { server } = await startServer(t);
  const stub = new featuresGrpc.ServerFeaturesClient(`127.0.0.1:${server.port}`, credentials.createInsecure());
  t.after(() => stub.close());
  const { promise, resolve, reject } = Promise.withResolvers<SupportedMethods>();
  stub.getSupportedMethods(new sharedPb.Empty(), (error, methods) => (error ? reject(error) : resolve(methods)));
  const methods = await promise;
  assert.match(methods.getEventStoreServerVersion(), /^\d+\.\d+\.\d+$/);
  assert.deepEqual(
    methods
      .getMethodsList()
      .map((method) => [method.getServiceName(), method.getMethodName(), method.getFeaturesList()]),
    [
      ['event_store.client.streams.streams', 'read', ['position', 'events']],
      ['event_store.client.streams.streams', 'append', []],
      ['event_store.client.streams.streams', 'batchappend', []],
      ['event_store.client.streams.streams', 'delete', []],
      ['event_store.client.streams.streams', 'tombstone', []],
      [persistentSubscriptions, 'create', ['stream', 'all']],
      [persistentSubscriptions, 'update', ['stream', 'all']],
      [persistentSubscriptions, 'delete', ['stream', 'all']],
      [persistentSubscriptions, 'read', ['stream', 'all']],
      [persistentSubscriptions, 'getinfo', ['stream', 'all']],
      [persistentSubscriptions, 'replayparked', ['stream', 'all']],
      [persistentSubscriptions, 'list', ['stream', 'all']],
      [persistentSubscriptions, 'restartsubsystem', []],
      ['event_store.client.gossip.gossip', 'read', []],
      ['event_store.client.server_features.serverfeatures', 'getsupportedmethods', []],
    ],
  );
});

test('a client that discovers its cluster finds one leader, where it asked', async (t) => {
  const { server } = await startServer(t);
  const seeds = `127.0.0.1:${server.port},localhost:${server.port}`;
  const client = EventStoreDBClient.connectionString(`esdb://${seeds}?tls=false&nodePreference=${LEADER}`);
  t.after(() => client.dispose());
  await client.appendToStream('order-1', happened(0));
  assert.equal((await collect(client.readStream('order-1'))).length, 1);
});

test('what is not implemented says so', async (t) => {
  const { client } = await startServer(t);
  await assert.rejects(client.listProjections(), { code: status.UNIMPLEMENTED });
  await assert.rejects(client.restartSubsystem(), { code: status.UNIMPLEMENTED });
});

test('event ids are given as two numbers to those who ask for that', async (t) => {
  const { client, server } = await startServer(t);
  const id = 'ffffffff-0123-4567-89ab-cdef01234567';
  await client.appendToStream('order-1', happened(1, { id, text: 'whole' }));
  const options = readOptions()
    .setStream(fromStartOf('order-1'))
    .setUuidOption(new streamsPb.ReadReq.Options.UUIDOption().setStructured(empty()));
  const [response] = await readRaw(connectRaw(t, server.port), options);
  const record = response?.getEvent()?.getEvent();
  const structured = record?.getId()?.getStructured();
  const hex = (bits: string | undefined) =>
    BigInt.asUintN(64, BigInt(bits ?? 0))
      .toString(16)
      .padStart(16, '0');
  assert.equal(
    hex(structured?.getMostSignificantBits()) + hex(structured?.getLeastSignificantBits()),
    id.replaceAll('-', ''),
  );
  assert.deepEqual(JSON.parse(Buffer.from(record?.getData_asU8() ?? []).toString()), { n: 1, text: 'whole' });
});

test('ids given as two numbers are the same ids', async (t) => {
  const { client, server } = await startServer(t);
  const stub = connectRaw(t, server.port);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const call = stub.append((error) => (error ? reject(error) : resolve()));
  const options = new streamsPb.AppendReq.Options().setStreamIdentifier(streamNamed('order-1')).setAny(empty());
  call.write(new streamsPb.AppendReq().setOptions(options));
  const message = new streamsPb.AppendReq.ProposedMessage();
  const structured = new sharedPb.UUID.Structured().setMostSignificantBits('-1').setLeastSignificantBits('1');
  message.setId(new sharedPb.UUID().setStructured(structured)).getMetadataMap().set('type', 'T');
  message.getMetadataMap().set('content-type', 'application/json');
  call.write(new streamsPb.AppendReq().setProposedMessage(message));
  call.end();
  await promise;
  const [read] = await collect(client.readStream('order-1'));
  assert.equal(read?.event?.id, 'ffffffff-ffff-ffff-0000-000000000001');
});

test('requests that make no sense are refused as invalid, not guessed at', async (t) => {
  const { server } = await startServer(t);
  const stub = connectRaw(t, server.port);
  const wrong = [
    readOptions().setStream(fromStartOf('order-1')).setUuidOption(undefined),
    readOptions(),
    readOptions().setStream(fromStartOf('')),
    readOptions().setStream(fromStartOf('order-1')).clearCount() as never,
  ];
  for (const options of wrong) await assert.rejects(readRaw(stub, options), { code: status.INVALID_ARGUMENT });
});

test('an event without a type is refused by Append with the names of what is missing', async (t) => {
  const { server } = await startServer(t);
  const stub = connectRaw(t, server.port);
  const { promise, reject } = Promise.withResolvers<void>();
  const call = stub.append((error) => reject(error));
  const options = new streamsPb.AppendReq.Options().setStreamIdentifier(streamNamed('order-1')).setAny(empty());
  call.write(new streamsPb.AppendReq().setOptions(options));
  call.write(new streamsPb.AppendReq().setProposedMessage(new streamsPb.AppendReq.ProposedMessage()));
  call.end();
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof Error && 'metadata' in error);
    const { metadata } = error as unknown as import('@grpc/grpc-js').ServiceError;
    assert.deepEqual(metadata.get('exception'), ['missing-required-metadata-property']);
    assert.deepEqual(metadata.get('required-metadata-properties'), ['type,content-type']);
    return true;
  });
});

test('$all cannot be written to or deleted', async (t) => {
  const { client } = await startServer(t);
  await assert.rejects(client.appendToStream('$all', happened(0)), { type: 'access-denied' });
  await assert.rejects(client.deleteStream('$all'), { type: 'access-denied' });
  await assert.rejects(client.tombstoneStream('$all'), { type: 'access-denied' });
});

test('a read of no events is empty, also of one that starts at the end', async (t) => {
  const { client, server } = await startServer(t);
  await client.appendToStream('order-1', happened(0));
  const stub = connectRaw(t, server.port);
  assert.deepEqual(await readRaw(stub, readOptions().setStream(fromStartOf('order-1')).setCount('0')), []);
  const fromEnd = new streamsPb.ReadReq.Options.StreamOptions().setStreamIdentifier(streamNamed('order-1'));
  assert.deepEqual(await readRaw(stub, readOptions().setStream(fromEnd.setEnd(empty()))), []);
});

test('counts and positions as large as the protocol allows are no more than everything', async (t) => {
  const { client, server } = await startServer(t);
  await client.appendToStream('order-1', happened(0));
  const stub = connectRaw(t, server.port);
  const most = String(2n ** 64n - 1n);
  assert.equal((await readRaw(stub, readOptions().setStream(fromStartOf('order-1')).setCount(most))).length, 1);
  const end = new streamsPb.ReadReq.Options.Position().setCommitPosition(most).setPreparePosition(most);
  const all = new streamsPb.ReadReq.Options.AllOptions().setPosition(end);
  assert.deepEqual(await readRaw(stub, readOptions().setAll(all)), []);
});

test('an append that a stop cuts off is answered as unavailable: what became of it is unknown', async (t) => {
  const { server } = await startServer(t);
  const stub = connectRaw(t, server.port);
  const { promise: ended, resolve } = Promise.withResolvers<number | undefined>();
  const call = stub.append((error) => resolve(error?.code));
  const options = new streamsPb.AppendReq.Options().setStreamIdentifier(streamNamed('order-1')).setAny(empty());
  const { promise: sent, resolve: whenSent } = Promise.withResolvers<void>();
  call.write(new streamsPb.AppendReq().setOptions(options), () => whenSent());
  await sent;
  await readRaw(stub, readOptions().setStream(fromStartOf('order-1'))); // the server has had its turn
  await server.close();
  assert.equal(await ended, status.UNAVAILABLE);
});

test('who speaks HTTP/1.1 to the port gets an error, not an answer', async (t) => {
  const { server } = await startServer(t);
  await assert.rejects(fetch(`http://127.0.0.1:${server.port}/streams/order-1`));
});
