import { filter, firstValueFrom, merge, of, type Subject, switchMap, takeUntil, throwIfEmpty, timer } from 'rxjs';
import type { EventStore } from '#commands/ports.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import type { BackupState, KnownBackup } from '#domain/backup/state.ts';
import { fold } from '#domain/decider.ts';
import { DomainError } from '#domain/errors.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { streamOf } from '#domain/streams.ts';

type Deps = Readonly<{
  store: EventStore;
  /** Events that the read model holds, as they come. */
  applied: Subject<RecordedEvent>;
  waitFor: (position: bigint, timeoutMs: number) => Promise<boolean>;
}>;

/** Longer than the node appliance may take to accept a job (30 s) and the exports to start. */
const patienceMs = 60_000;
const readModelPatienceMs = 5_000;

type Seen = Readonly<{ state: BackupState; position: bigint }>;

const read = async ({ store }: Deps, backupId: string): Promise<Seen> => {
  const { events } = await store.read<BackupEvent>(streamOf.backup(backupId));
  const state = fold(
    backupDecider,
    events.map(({ event }) => event),
  );
  return { state, position: events.at(-1)?.position ?? 0n };
};

/** Waits until a job has come to a state, whichever hub brings it there, and until the read model shows it. */
export const createJobWatch =
  (deps: Deps) =>
  async (backupId: string, until: (job: KnownBackup) => boolean, signal: AbortSignal): Promise<KnownBackup> => {
    const stream = streamOf.backup(backupId);
    const changes = deps.applied.pipe(filter((event) => event.stream === stream));
    const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    const reached = merge(of(undefined), changes).pipe(
      switchMap(() => read(deps, backupId)),
      filter(({ state }) => state.status !== 'none' && until(state)),
      takeUntil(merge(timer(patienceMs), gone)),
      throwIfEmpty(() => new Error('not reached in time')),
    );
    const seen = await firstValueFrom(reached).catch(() => read(deps, backupId));
    await deps.waitFor(seen.position, readModelPatienceMs);
    if (seen.state.status !== 'none') return seen.state;
    throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
  };
