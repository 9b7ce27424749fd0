import { backupDecider } from '#domain/backup/decide.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import type { BackupState } from '#domain/backup/state.ts';
import { fold } from '#domain/decider.ts';
import { streamOf } from '#domain/streams.ts';
import type { Loaded } from './handle.ts';
import type { CommandContext, EventStore } from './ports.ts';

/**
 * A job as its own client finds it. What the client says follows from the request that started the client, not from the
 * HTTP request that carries it: so the end of a backup hangs on its beginning.
 */
export const loadForClient = async (
  { store }: Readonly<{ store: Pick<EventStore, 'read'> }>,
  backupId: string,
  context: CommandContext,
): Promise<Readonly<{ loaded: Loaded<BackupState>; context: CommandContext }>> => {
  const { events, revision } = await store.read<BackupEvent>(streamOf.backup(backupId));
  const state = fold(
    backupDecider,
    events.map(({ event }) => event),
  );
  const asked = events.findLast(({ event: { type } }) => type === 'TransferAccepted' || type === 'TransferRequested');
  // Whoever speaks before the client was asked knows the job from its beginning.
  const cause = asked ?? events[0];
  return {
    loaded: { state, revision, depth: events.length },
    context: cause ? { ...context, causationId: cause.id } : context,
  };
};
