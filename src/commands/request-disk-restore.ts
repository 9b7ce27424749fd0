import { type DiskRestoreState, diskRestoreDecider, type KnownDiskRestore } from '#domain/disk-restore/disk-restore.ts';
import type { RestoreTarget } from '#domain/disk-restore/events.ts';
import { nameOfTarget, placeOf } from '#domain/disk-restore/target.ts';
import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import type { ImageChains, OpenDiskRestores, RestoreTargets } from './disk-restore-ports.ts';
import { asRefusal } from './export-disk.ts';
import { handle, load } from './handle.ts';
import { type IdempotentRequest, idempotentSubject } from './idempotent-subject.ts';
import type { Clock, CommandContext, EventStore, Ids } from './ports.ts';
import type { FindRestorableDisk } from './restorable-disk.ts';

export type DiskRestoreInput = Readonly<{
  backupId: string;
  diskIndex: number;
  target: RestoreTarget;
  verify: boolean;
}>;

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  ids: Ids;
  findDisk: FindRestorableDisk;
  chains: ImageChains;
  targets: RestoreTargets;
  restores: OpenDiskRestores;
}>;

export type RequestedDiskRestore = Readonly<{ restore: KnownDiskRestore; position: bigint | undefined }>;

export const known = (state: DiskRestoreState, restoreId: string): KnownDiskRestore => {
  if (state.status !== 'none') return state;
  throw new DomainError('disk-restore-not-found', `there is no restore ${restoreId}`, { restoreId });
};

const assertFree = async ({ restores }: Deps, target: RestoreTarget): Promise<void> => {
  const busy = (await restores.open()).find((other) => placeOf(other.target) === placeOf(target));
  if (!busy) return;
  const message = `the restore ${busy.restoreId} is writing to ${nameOfTarget(target)}; wait for its end or cancel it`;
  throw new DomainError('restore-target-busy', message, { restoreId: busy.restoreId });
};

/** Asks for a disk to be written back; a process manager does it. Everything that can be told at once is refused at once. */
export const createRequestDiskRestore =
  (deps: Deps) =>
  async (
    input: DiskRestoreInput,
    context: (correlationId: string) => CommandContext,
    request: IdempotentRequest | undefined,
    signal: AbortSignal,
  ): Promise<RequestedDiskRestore> => {
    const { store, clock, ids, findDisk, chains, targets } = deps;
    const proposed = ids.uuid();
    const restoreId = await idempotentSubject(deps, proposed, request, context(proposed));
    const target = { decider: diskRestoreDecider, stream: streamOf.diskRestore(restoreId) };
    const { state } = await load(store, target.decider, target.stream);
    // What an earlier request with this key made.
    if (state.status !== 'none') return { restore: state, position: undefined };
    const { backupId, diskIndex } = input;
    const disk = await findDisk(backupId, diskIndex);
    await targets.assertUsable(input.target);
    await assertFree(deps, input.target);
    const sizeBytes = await chains.sizeOf(disk.imagePath, signal).catch((error: unknown) => {
      throw asRefusal(error, disk);
    });
    const facts = { vmName: disk.vmName, imagePath: disk.imagePath, sizeBytes, target: input.target };
    const data = { restoreId, backupId, diskIndex, ...facts, verify: input.verify, at: clock.now() };
    const handled = await handle(store, target, { type: 'RequestDiskRestore', data }, context(restoreId));
    return { restore: known(handled.state, restoreId), position: handled.position };
  };

export type RequestDiskRestore = ReturnType<typeof createRequestDiskRestore>;

/** Asks for the end of a restore; the process manager ends the copy and removes what there is of it. */
export const createCancelDiskRestore =
  ({ store, clock }: Pick<Deps, 'store' | 'clock'>) =>
  async (restoreId: string, context: CommandContext): Promise<RequestedDiskRestore> => {
    const target = { decider: diskRestoreDecider, stream: streamOf.diskRestore(restoreId) };
    const data = { restoreId, at: clock.now() };
    const { state, position } = await handle(store, target, { type: 'RequestCancel', data }, context);
    return { restore: known(state, restoreId), position };
  };

export type CancelDiskRestore = ReturnType<typeof createCancelDiskRestore>;
