import type { Subject } from 'rxjs';
import type { EventStore } from '#commands/ports.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import type { BackupState, KnownBackup } from '#domain/backup/state.ts';
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

/** A job as far as it was seen; events that were seen already are passed over. */
const follow = () => {
  let state: BackupState = backupDecider.initialState;
  let position = 0n;
  return {
    take: (event: RecordedEvent): void => {
      if (event.position <= position) return;
      position = event.position;
      state = backupDecider.evolve(state, event.event as BackupEvent);
    },
    seen: () => ({ state, position }),
  };
};

/** Waits until a job has come to a state, whichever hub brings it there, and until the read model shows it. */
export const createJobWatch =
  ({ store, applied, waitFor }: Deps) =>
  async (backupId: string, until: (job: KnownBackup) => boolean, signal: AbortSignal): Promise<KnownBackup> => {
    const stream = streamOf.backup(backupId);
    const job = follow();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      const { state } = job.seen();
      if (state.status !== 'none' && until(state)) resolve();
    };
    // Events that come while the stream is read wait for it: they are in it, or follow it.
    let early: RecordedEvent[] | undefined = [];
    const subscription = applied.subscribe((event) => {
      if (event.stream !== stream) return;
      if (early) early.push(event);
      else {
        job.take(event);
        check();
      }
    });
    const timer = setTimeout(resolve, patienceMs);
    const leave = (): void => resolve();
    signal.addEventListener('abort', leave, { once: true });
    try {
      const { events } = await store.read<BackupEvent>(stream);
      for (const event of [...events, ...early]) job.take(event);
      early = undefined;
      check();
      await over;
    } finally {
      subscription.unsubscribe();
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    }
    const { state, position } = job.seen();
    await waitFor(position, readModelPatienceMs);
    if (state.status !== 'none') return state;
    throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
  };
