import type { EventStoreDBClient } from '@eventstore/db-client';
import {
  type CallOptions,
  type Client,
  type ClientReadableStream,
  type Metadata,
  makeGenericClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { type MaintenanceProgress, maintenanceService } from './embedded-event-store/grpc/maintenance-service.ts';

type Task = keyof MaintenanceProgress;

/** The event store is not ours: it has tools of its own. */
export class MaintenanceNotOffered extends Error {
  override readonly name = 'MaintenanceNotOffered';
  constructor(task: Task, cause: unknown) {
    const instead = {
      scavenge: 'start a scavenge there, with POST /admin/scavenge or its web interface',
      verify: 'its chunk files are verified when it starts',
    }[task];
    super(`This event store is not the embedded one of Sendense, but EventStoreDB: ${instead}.`, { cause });
  }
}

type Stub = Client & Record<Task, (request: object, metadata: Metadata, options: CallOptions) => unknown>;

/** Of the client's protected methods: what connects, authenticates and reconnects as its own calls do. */
type Inside = Readonly<{
  execute: <T>(Stub: unknown, name: string, work: (stub: Stub) => Promise<T>) => Promise<T>;
  callArguments: (options: object, callOptions: CallOptions) => [Metadata, CallOptions];
}>;

const MaintenanceStub = makeGenericClientConstructor(maintenanceService, 'Maintenance');

const isUnimplemented = (error: unknown): boolean =>
  error instanceof Error && (error as ServiceError).code === status.UNIMPLEMENTED;

async function* progressOf<K extends Task>(
  client: EventStoreDBClient,
  task: K,
  signal?: AbortSignal,
): AsyncGenerator<MaintenanceProgress[K], void, undefined> {
  const inside = client as unknown as Inside;
  const stream = await inside.execute(MaintenanceStub, task, async (stub) => {
    const [metadata, options] = inside.callArguments({ deadline: Number.POSITIVE_INFINITY }, {});
    return stub[task]({}, metadata, options) as ClientReadableStream<MaintenanceProgress[K]>;
  });
  const cancel = () => stream.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const progress of stream) yield progress as MaintenanceProgress[K];
  } catch (error) {
    signal?.throwIfAborted();
    throw isUnimplemented(error) ? new MaintenanceNotOffered(task, error) : error;
  } finally {
    signal?.removeEventListener('abort', cancel);
    stream.cancel();
  }
}

/** Looks after an embedded event store while it runs. In a store with users the client must sign in as an operator. */
export const createEventStoreMaintenance = (client: EventStoreDBClient) => ({
  /** Gives the disk space of truncated and deleted streams back. Throws `MaintenanceNotOffered`. */
  scavenge: (signal?: AbortSignal) => progressOf(client, 'scavenge', signal),
  /** Reads and checks every event and index. Throws `MaintenanceNotOffered`. */
  verify: (signal?: AbortSignal) => progressOf(client, 'verify', signal),
});
