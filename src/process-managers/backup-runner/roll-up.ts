import type { Performance, PerformanceSample, TelemetrySummary } from '#domain/backup/events.ts';
import type { ProgressReported } from '#domain/telemetry/events.ts';

/** At most one sample in this time goes into a job's profile. */
export const sampleIntervalMs = 30_000;

type RollUp = Readonly<{ firstMs: number; lastMs: number; samples: readonly PerformanceSample[] }>;

export const emptyRollUp: RollUp = { firstMs: 0, lastMs: Number.NEGATIVE_INFINITY, samples: [] };

/** Takes one report into the profile: the first, then one every 30 s. Memory grows with the job's duration alone. */
export const sample = (rollUp: RollUp, { data }: ProgressReported): RollUp => {
  const { at, progress, status } = data;
  const nowMs = Date.parse(at);
  if (status !== 'running' || nowMs - rollUp.lastMs < sampleIntervalMs) return rollUp;
  const firstMs = rollUp.samples.length === 0 ? nowMs : rollUp.firstMs;
  const t = Math.round((nowMs - firstMs) / 1000);
  const next = { t, s: progress.speedBps, p: progress.percent, phase: progress.phase };
  return { firstMs, lastMs: nowMs, samples: [...rollUp.samples, next] };
};

/** The job's profile, or null when no report came. The minimum ignores zeros: a paused start is not a slow disk. */
export const performanceOf = ({ samples }: RollUp): Performance | null => {
  const last = samples.at(-1);
  if (!last) return null;
  const speeds = samples.map(({ s }) => s);
  const moving = speeds.filter((speed) => speed > 0);
  return {
    durationSeconds: last.t,
    snapshotsRecorded: samples.length,
    peakSpeedBps: Math.max(...speeds),
    avgSpeedBps: Math.round(speeds.reduce((sum, speed) => sum + speed, 0) / speeds.length),
    minSpeedBps: moving.length > 0 ? Math.min(...moving) : 0,
    chart: samples,
  };
};

/** What is kept of the reports beside the profile; each report holds all that was known, so the newest is enough. */
export const summarise = (summary: TelemetrySummary | null, { data }: ProgressReported): TelemetrySummary => ({
  firstAt: summary?.firstAt ?? data.at,
  lastAt: data.at,
  reports: (summary?.reports ?? 0) + 1,
  last: data.progress,
});
