import type { EventFeed } from '#commands/ports.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { narrate } from '#domain/backup/narrate.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { idFromStream, prefixOf } from '#domain/streams.ts';
import type { ProgressReported } from '#domain/telemetry/events.ts';
import type { JobChange, JobChangeFeed } from '#http/event-stream.ts';

const prefixes = [prefixOf('backup'), prefixOf('telemetry')];

const ofProgress = ({ data }: ProgressReported): object => ({
  status: data.status,
  current_phase: data.progress.phase,
  bytes_transferred: data.progress.bytesTransferred,
  total_bytes: data.progress.totalBytes,
  transfer_speed_bps: data.progress.speedBps,
  eta_seconds: data.progress.etaSeconds,
  progress_percent: data.progress.percent,
});

const changeOf = ({ event, stream, position, recordedAt, metadata }: RecordedEvent): JobChange => {
  const facts =
    event.type === 'ProgressReported'
      ? ofProgress(event as ProgressReported)
      : { text: narrate(event as BackupEvent), actor: metadata.by };
  return { position, type: event.type, data: { job_id: idFromStream(stream), time: recordedAt, ...facts } };
};

/** One catch-up subscription a reader: the store holds what a slow one has not taken, not this program. */
export const createJobFeed = (feed: EventFeed): JobChangeFeed => ({
  async *subscribe(from, signal) {
    for await (const item of feed.subscribe(from, { streamPrefixes: prefixes, maxBatch: 64 }, signal)) {
      if (item.kind === 'events') for (const recorded of item.events) yield changeOf(recorded);
    }
  },
});
