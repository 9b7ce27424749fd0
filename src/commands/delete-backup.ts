import { backupDecider } from '#domain/backup/decide.ts';
import { DomainError } from '#domain/errors.ts';
import { restorePointsDecider } from '#domain/restore-points/decide.ts';
import { streamOf } from '#domain/streams.ts';
import type { BackupReaders } from './backup-readers.ts';
import { handle, load } from './handle.ts';
import { slotHolders } from './mount-slots.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

type Deps = Readonly<{ store: EventStore; clock: Clock; storageNode: string; readers: BackupReaders }>;

/** Whoever reads its files would find them gone. A mount of an increment keeps its parents, since those have a dependant. */
const assertNotMounted = async (
  { store, storageNode }: Pick<Deps, 'store' | 'storageNode'>,
  backupId: string,
): Promise<void> => {
  const holder = (await slotHolders(store, storageNode)).find((each) => each.backupId === backupId);
  if (!holder) return;
  const { mountId, diskIndex } = holder;
  throw new DomainError(
    'backup-mounted',
    `disk ${diskIndex} of ${backupId} is mounted for file restore; unmount it first: ${mountId}`,
    { mountId },
  );
};

/** Like a mount, a reader of an increment keeps its parents as well: they have a dependant. */
const assertNotRead = async ({ readers }: Pick<Deps, 'readers'>, backupId: string): Promise<void> => {
  const [reader] = await readers.of(backupId);
  if (!reader) return;
  const { diskIndex } = reader;
  if (reader.by === 'download') {
    const message = `disk ${diskIndex} of ${backupId} is being downloaded; wait for the end of the download or break it off`;
    throw new DomainError('backup-being-read', message, { diskIndex });
  }
  const { restoreId } = reader;
  const message = `disk ${diskIndex} of ${backupId} is being written back; wait for the restore's end or cancel it: ${restoreId}`;
  throw new DomainError('backup-being-read', message, { restoreId });
};

/**
 * Begins the removal of an ended backup; the process manager deletes the files and records the end. Refused while it runs,
 * while it is mounted or a disk of it is being read, or while increments depend on it. May be repeated after a removal that
 * failed.
 */
export const createDeleteBackup =
  ({ store, clock, storageNode, readers }: Deps) =>
  async (backupId: string, context: CommandContext): Promise<Readonly<{ position: bigint | undefined }>> => {
    const target = { decider: backupDecider, stream: streamOf.backup(backupId) };
    const { state } = await load(store, target.decider, target.stream);
    if (state.status === 'none' || state.removal === 'removed') {
      throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
    }
    await assertNotMounted({ store, storageNode }, backupId);
    await assertNotRead({ readers }, backupId);
    const { vmContextId } = state;
    const at = clock.now();
    const request = { type: 'RequestRemoval', data: { backupId, at } } as const;
    // Refused before anything is recorded: a chain whose head is marked as going takes no increments.
    target.decider.decide(request, state);
    // The chain first: from here on nobody can base an increment on this backup.
    await handle(
      store,
      { decider: restorePointsDecider(vmContextId), stream: streamOf.restorePoints(vmContextId) },
      { type: 'BeginRemoval', data: { vmContextId, backupId, at } },
      context,
    );
    const { position } = await handle(store, target, request, context);
    return { position };
  };
