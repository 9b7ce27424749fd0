import type { ServiceDefinition } from '@grpc/grpc-js';
import type { ScavengeProgress } from '../scavenger.ts';
import type { VerifyProgress } from '../verifier.ts';

const asBytes = (value: object): Buffer => Buffer.from(JSON.stringify(value));
const fromBytes = (bytes: Buffer): unknown => JSON.parse(bytes.toString('utf8') || '{}');

const call = (name: string) => ({
  path: `/sendense.eventstore.Maintenance/${name}`,
  requestStream: false,
  responseStream: true,
  requestSerialize: asBytes,
  requestDeserialize: fromBytes,
  responseSerialize: asBytes,
  responseDeserialize: fromBytes,
});

/**
 * What EventStoreDB does through its Operations service and its files, in a service of our own: JSON in place of protobuf,
 * for there is no other client than ours. The answers are `ScavengeProgress` and `VerifyProgress`; the last one is done.
 */
export const maintenanceService = { scavenge: call('Scavenge'), verify: call('Verify') } satisfies ServiceDefinition;

export type MaintenanceProgress = Readonly<{ scavenge: ScavengeProgress; verify: VerifyProgress }>;
