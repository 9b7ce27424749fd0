import { backupDecider } from '#domain/backup/decide.ts';
import type { KnownBackup } from '#domain/backup/state.ts';
import { DomainError } from '#domain/errors.ts';
import { restorePointsDecider } from '#domain/restore-points/decide.ts';
import { streamOf } from '#domain/streams.ts';
import { loadForClient } from './client-call.ts';
import { handle } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

export type CompleteDiskInput = Readonly<{
  backupId: string;
  diskIndex: number;
  changeId: string;
  /** 0 when the client does not know. */
  bytesTransferred: number;
}>;

/**
 * A disk's data has arrived and this is its change id. Repeatable. The restore point learns of a change id that comes after
 * the backup was completed by telemetry alone, which is the old client's usual order for the last disk.
 */
export const createCompleteDisk =
  ({ store, clock }: Readonly<{ store: EventStore; clock: Clock }>) =>
  async (
    input: CompleteDiskInput,
    request: CommandContext,
  ): Promise<Readonly<{ job: KnownBackup; position: bigint | undefined }>> => {
    const { backupId, diskIndex, changeId, bytesTransferred } = input;
    const at = clock.now();
    const { loaded, context } = await loadForClient({ store }, backupId, request);
    const { state, position } = await handle(
      store,
      { decider: backupDecider, stream: streamOf.backup(backupId), loaded },
      { type: 'RecordChangeId', data: { backupId, diskIndex, changeId, bytesTransferred, at } },
      context,
    );
    if (state.status === 'none') throw new DomainError('backup-not-found', `there is no backup ${backupId}`);
    const holder = state.disks.find((disk) => disk.changeId === changeId);
    if (state.status === 'completed' && holder) {
      await handle(
        store,
        { decider: restorePointsDecider(state.vmContextId), stream: streamOf.restorePoints(state.vmContextId) },
        {
          type: 'RecordLateChangeId',
          data: { vmContextId: state.vmContextId, backupId, diskIndex: holder.index, changeId, at },
        },
        context,
      );
    }
    return { job: state, position };
  };
