import { randomUUID } from 'node:crypto';
import gossip from '@eventstore/db-client/generated/gossip_grpc_pb.js';
import serverFeatures from '@eventstore/db-client/generated/serverfeatures_grpc_pb.js';
import streams from '@eventstore/db-client/generated/streams_grpc_pb.js';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { DataDirInUse, removeOwner, writeOwner } from './data-dir.ts';
import { type EventStorage, openEventStorage } from './event-storage.ts';
import { createAppendCall } from './grpc/append-call.ts';
import { createBatchAppendCall } from './grpc/batch-append-call.ts';
import { createDeleteCall, createTombstoneCall } from './grpc/delete-call.ts';
import { createGossipCall } from './grpc/gossip-call.ts';
import { createMaintenanceCalls } from './grpc/maintenance-call.ts';
import { maintenanceService } from './grpc/maintenance-service.ts';
import { OpenCalls } from './grpc/open-calls.ts';
import { addPersistentSubscriptions } from './grpc/persistent-service.ts';
import { createReadCall } from './grpc/read-call.ts';
import { getSupportedMethods } from './grpc/server-features-call.ts';
import type { AppendLimits, Service } from './grpc/service.ts';
import { writeBehind } from './grpc/write-behind.ts';
import { Groups } from './persistent-subscriptions/groups.ts';
import { type Authoriser, passThrough } from './security/authoriser.ts';
import { basicAuthentication } from './security/basic-authentication.ts';
import { readTlsCredentials, type TlsFiles } from './security/tls.ts';
import type { Users } from './security/users.ts';
import { isLockedByAnother } from './sqlite-errors.ts';

export type EventStoreServerOptions = Readonly<{
  dataDir: string;
  /** Default 127.0.0.1. */
  host?: string;
  /** Default 0: any free one. */
  port?: number;
  /** Refuses appends once the store is that big, as if the disk were full. Default: no limit but the disk's. */
  maxSizeBytes?: number;
  /** See `EventStorageOptions`. */
  scavengeEveryMs?: number;
  /** Default: 1 MiB per append counted over whole events, 2 s for the parts of an append to arrive. */
  limits?: Partial<AppendLimits>;
  /** Default: without, in plain text. */
  tls?: TlsFiles;
  /** Who may do what, with `tls` only: clients send no credentials in plain text. Default: everybody everything. */
  users?: Users;
  /** Storage failed in an unknown way: end the process. Default: throws, uncaught. */
  failed?: (error: unknown) => void;
}>;

export type EventStoreServer = Readonly<{ port: number; close: () => Promise<void> }>;

const defaultLimits: AppendLimits = {
  maxAppendSizeBytes: 1024 * 1024,
  appendSizeRule: 'whole-event',
  writeTimeoutMs: 2000,
};
// Above the largest event, so that too big an append gets its proper error instead of a transport error.
const maxReceiveBytes = 17 * 1024 * 1024;
const shutdownTimeoutMs = 1000;

const throwUncaught = (error: unknown): void => {
  setImmediate(() => {
    throw error;
  });
};

const createGrpcServer = (service: Service, groups: Groups): Server => {
  const server = new Server({ 'grpc.max_receive_message_length': maxReceiveBytes, interceptors: [writeBehind] });
  const asStored = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { StreamsService } = streams;
  const definition = {
    ...StreamsService,
    read: { ...StreamsService.read, responseSerialize: asStored },
    batchAppend: { ...StreamsService.batchAppend, responseSerialize: asStored },
  };
  server.addService(definition, {
    read: createReadCall(service),
    append: createAppendCall(service),
    batchAppend: createBatchAppendCall(service),
    delete: createDeleteCall(service),
    tombstone: createTombstoneCall(service),
  });
  server.addService(serverFeatures.ServerFeaturesService, { getSupportedMethods });
  addPersistentSubscriptions(server, service, groups);
  server.addService(maintenanceService, createMaintenanceCalls(service));
  server.addService(gossip.GossipService, { read: createGossipCall(randomUUID()) });
  return server;
};

const bind = ({ host = '127.0.0.1', port = 0, tls }: EventStoreServerOptions, server: Server): Promise<number> => {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const credentials = tls ? readTlsCredentials(tls) : ServerCredentials.createInsecure();
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync(address, credentials, (error, boundPort) => {
    if (!error) return resolve(boundPort);
    const reason = error.message.includes('EADDRINUSE') ? 'the port is taken' : error.message;
    reject(new Error(`The event store cannot listen on ${address}: ${reason}.`, { cause: error }));
  });
  return promise;
};

const shutDown = async (server: Server): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => server.forceShutdown(), shutdownTimeoutMs);
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(timer);
};

const openStorage = async (options: EventStoreServerOptions): Promise<EventStorage> => {
  const { dataDir, maxSizeBytes, scavengeEveryMs, failed = throwUncaught } = options;
  try {
    const limits = {
      ...(maxSizeBytes !== undefined && { maxSizeBytes }),
      ...(scavengeEveryMs !== undefined && { scavengeEveryMs }),
    };
    const storage = await openEventStorage({ dataDir, failed, ...limits });
    writeOwner(dataDir);
    return storage;
  } catch (error) {
    throw isLockedByAnother(error) ? new DataDirInUse(dataDir, error) : error;
  }
};

const authoriserOf = ({ users }: EventStoreServerOptions, { reader }: EventStorage): Authoriser =>
  users ? basicAuthentication(users, reader) : passThrough;

/**
 * An event store that speaks EventStoreDB's protocol, durable and for one process per data directory: rejects with
 * `DataDirInUse` while another has it. Services that are not implemented are answered UNIMPLEMENTED. The port is bound
 * after recovery: who can connect is served.
 */
export const createEventStoreServer = async (options: EventStoreServerOptions): Promise<EventStoreServer> => {
  const storage = await openStorage(options);
  const calls = new OpenCalls();
  const limits = { ...defaultLimits, ...options.limits };
  const groups = new Groups(storage);
  const server = createGrpcServer({ storage, calls, limits, authoriser: authoriserOf(options, storage) }, groups);
  const closeStorage = () => {
    removeOwner(options.dataDir); // before the lock goes: afterwards the file may be a successor's
    storage.close();
  };
  try {
    const port = await bind(options, server);
    const close = async () => {
      calls.endAll();
      await groups.close();
      await shutDown(server);
      closeStorage();
    };
    let closing: Promise<void> | undefined;
    return {
      port,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    await groups.close();
    closeStorage();
    throw error;
  }
};
