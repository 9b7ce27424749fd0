import { handle } from '#commands/handle.ts';
import type { Clock, CommandContext, EventStore, Ids } from '#commands/ports.ts';
import { type BackupCommand, backupDecider } from '#domain/backup/decide.ts';
import type { KnownBackup } from '#domain/backup/state.ts';
import { streamOf } from '#domain/streams.ts';
import type {
  BackupNode,
  CredentialVault,
  DiskExporter,
  DiskImages,
  PortProbe,
  SideFiles,
  StepObserver,
} from '../ports.ts';

export type PortPool = Readonly<{
  /** The host whose ports they are: names the pool's stream. */
  storageNode: string;
  first: number;
  last: number;
}>;

export type BackupRunnerDeps = Readonly<{
  store: EventStore;
  clock: Clock;
  ids: Ids;
  images: DiskImages;
  exporter: DiskExporter;
  probe: PortProbe;
  sideFiles: SideFiles;
  node: BackupNode;
  vault: CredentialVault;
  pool: PortPool;
  steps?: StepObserver;
}>;

/** One look at one job. */
export type Work = Readonly<{ job: KnownBackup; deps: BackupRunnerDeps; context: CommandContext; signal: AbortSignal }>;

export const runnerContext = (ids: Ids, correlationId: string, causationId: string | undefined): CommandContext => ({
  actor: 'process:backup-runner',
  correlationId,
  ...(causationId === undefined ? {} : { causationId }),
  commandId: ids.uuid(),
});

/** Sends one command to the job's own stream. */
export const tellJob = ({ store }: Pick<BackupRunnerDeps, 'store'>, command: BackupCommand, context: CommandContext) =>
  handle(store, { decider: backupDecider, stream: streamOf.backup(command.data.backupId) }, command, context);

export const causeOf = ({ correlationId, causationId }: CommandContext) => ({
  correlationId,
  ...(causationId === undefined ? {} : { causationId }),
});
