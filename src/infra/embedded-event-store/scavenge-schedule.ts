import type { ScavengeProgress } from './scavenger.ts';

export type ScavengeSchedule = Readonly<{
  everyMs: number;
  lastAtMs: () => number;
  scavenge: () => AsyncGenerator<ScavengeProgress>;
  /** A run that failed is told and tried again when it is due the next time. */
  failed: (error: unknown) => void;
}>;

const lookEveryMs = 10 * 60 * 1000;

/** Scavenges whenever the last run, of this process or one before it, is long enough ago. Returns how to stop. */
export const startScavengeSchedule = ({ everyMs, lastAtMs, scavenge, failed }: ScavengeSchedule): (() => void) => {
  let stopped = false;
  let triedAtMs = 0;
  const run = async () => {
    triedAtMs = Date.now();
    for await (const _progress of scavenge()) if (stopped) return;
  };
  const look = () => {
    if (Date.now() - Math.max(lastAtMs(), triedAtMs) < everyMs) return;
    run().catch((error: unknown) => {
      if (!stopped) failed(error);
    });
  };
  const timer = setInterval(look, Math.min(everyMs, lookEveryMs)).unref();
  return () => {
    stopped = true;
    clearInterval(timer);
  };
};
