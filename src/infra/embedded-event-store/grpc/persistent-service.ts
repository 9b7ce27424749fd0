import persistent from '@eventstore/db-client/generated/persistent_grpc_pb.js';
import type { Server } from '@grpc/grpc-js';
import type { Groups } from '../persistent-subscriptions/groups.ts';
import { createPersistentCalls } from './persistent-calls.ts';
import { createPersistentReadCall } from './persistent-read-call.ts';
import type { Service } from './service.ts';

/** The service of competing consumers. */
export const addPersistentSubscriptions = (server: Server, service: Service, groups: Groups): void => {
  const { PersistentSubscriptionsService } = persistent;
  const asStored = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const definition = {
    ...PersistentSubscriptionsService,
    read: { ...PersistentSubscriptionsService.read, responseSerialize: asStored },
  };
  server.addService(definition, {
    ...createPersistentCalls(service, groups),
    read: createPersistentReadCall(service, groups),
  });
};
