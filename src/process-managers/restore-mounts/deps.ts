import { handle } from '#commands/handle.ts';
import type { MountHolds } from '#commands/mount-access.ts';
import { afterNewest } from '#commands/newest-event.ts';
import type { Clock, CommandContext, EventStore, Ids } from '#commands/ports.ts';
import { restoreMountTarget } from '#commands/restore-mount-target.ts';
import type { RestoreMountCommand, RestoreMountState } from '#domain/restore-mount/restore-mount.ts';
import type { StepObserver } from '../ports.ts';
import type { DiskMounts } from './ports.ts';

export type RestoreMountsDeps = Readonly<{
  store: EventStore;
  clock: Clock;
  ids: Ids;
  disks: DiskMounts;
  holds: Pick<MountHolds, 'breakOff' | 'isHeld' | 'lastAccess'>;
  storageNode: string;
  steps?: StepObserver;
}>;

export const contextFor = (ids: Ids, mountId: string, causationId: string | undefined): CommandContext => ({
  actor: 'process:restore-mounts',
  correlationId: mountId,
  ...(causationId === undefined ? {} : { causationId }),
  commandId: ids.uuid(),
});

/** For a look that no event asked for; `stream`: what it looked at. */
export const contextOfLook = async (
  { store, ids }: Pick<RestoreMountsDeps, 'store' | 'ids'>,
  mountId: string,
  stream = restoreMountTarget(mountId).stream,
): Promise<CommandContext> => afterNewest(store, stream, contextFor(ids, mountId, undefined));

/** Sends one command to a mount's own stream; returns the state that it leaves. */
export const tellMount = async (
  { store }: Pick<RestoreMountsDeps, 'store'>,
  command: RestoreMountCommand,
  context: CommandContext,
): Promise<RestoreMountState> =>
  (await handle(store, restoreMountTarget(command.data.mountId), command, context)).state;
