import type { BackupEvent } from '#domain/backup/events.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import type { ReadModelDb } from '#projections/projection.ts';
import type { Metrics } from './registry.ts';

// From a small increment to a day.
const buckets = [10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400];

type Finished = Readonly<{ type: string; seconds: number; bytes: number }>;

/** Also a backup that failed has moved its bytes. */
const readFinished = async (db: ReadModelDb, backupId: string, endedAt: string): Promise<Finished | undefined> => {
  const row = await db
    .selectFrom('backup_jobs')
    .select(['backup_type', 'created_at', 'bytes_transferred'])
    .where('backup_id', '=', backupId)
    .executeTakeFirst();
  if (!row) return undefined;
  const seconds = Math.max(0, (Date.parse(endedAt) - Date.parse(row.created_at)) / 1000);
  return { type: row.backup_type, seconds, bytes: row.bytes_transferred };
};

/**
 * Counts backups as they end. The tables are no counters, rows are removed from them; so the events are counted as they
 * pass, and as after any restart the counters begin at zero.
 */
export const backupMetrics = (metrics: Metrics, db: ReadModelDb, startedAt: string) => {
  const labels = ['type', 'outcome'] as const;
  const finished = metrics.counter({
    name: 'sendense_backups_finished_total',
    help: 'Backups that ended since the hub was started',
    labels,
  });
  const bytes = metrics.counter({
    name: 'sendense_backup_transferred_bytes_total',
    help: 'Bytes transferred by backups that ended since the hub was started',
    labels: ['type'],
  });
  const durations = metrics.histogram({
    name: 'sendense_backup_duration_seconds',
    help: 'Time from the request of a backup to its end',
    labels,
    buckets,
  });
  for (const type of ['full', 'incremental']) {
    bytes.inc({ type }, 0);
    for (const outcome of ['completed', 'failed']) {
      finished.inc({ type, outcome }, 0);
      durations.zero({ type, outcome });
    }
  }
  const count = async (event: BackupEvent): Promise<void> => {
    if (event.type !== 'BackupCompleted' && event.type !== 'BackupFailed') return;
    const { backupId, at } = event.data;
    const facts = await readFinished(db, backupId, at);
    if (!facts) return; // it was removed meanwhile
    const outcome = event.type === 'BackupCompleted' ? 'completed' : 'failed';
    finished.inc({ type: facts.type, outcome });
    bytes.inc({ type: facts.type }, facts.bytes);
    durations.observe({ type: facts.type, outcome }, facts.seconds);
  };
  return {
    /** Takes an event that the tables hold. What came before the start (tables that are made anew) is history. */
    take: async ({ event, recordedAt }: RecordedEvent): Promise<void> => {
      if (recordedAt >= startedAt) await count(event as BackupEvent);
    },
  };
};
