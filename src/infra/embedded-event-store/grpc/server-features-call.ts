import type { SupportedMethods } from '@eventstore/db-client/generated/serverfeatures_pb.js';
import serverFeatures from '@eventstore/db-client/generated/serverfeatures_pb.js';
import type { Empty } from '@eventstore/db-client/generated/shared_pb.js';
import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';

/** The release whose behaviour this server follows. Clients only log it. */
const emulatedVersion = '24.2.0';

const streamsService = 'event_store.client.streams.streams';
const persistentSubscriptions = 'event_store.client.persistent_subscriptions.persistentsubscriptions';
const supported: readonly (readonly [service: string, method: string, features: string[]])[] = [
  [streamsService, 'read', ['position', 'events']],
  [streamsService, 'append', []],
  [streamsService, 'batchappend', []],
  [streamsService, 'delete', []],
  [streamsService, 'tombstone', []],
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
];

/** Exactly what is implemented: clients choose their calls by this list. */
export const getSupportedMethods = (
  _call: ServerUnaryCall<Empty, SupportedMethods>,
  callback: sendUnaryData<SupportedMethods>,
): void => {
  const methods = supported.map(([service, method, features]) =>
    new serverFeatures.SupportedMethod().setServiceName(service).setMethodName(method).setFeaturesList(features),
  );
  const response = new serverFeatures.SupportedMethods();
  callback(null, response.setMethodsList(methods).setEventStoreServerVersion(emulatedVersion));
};
