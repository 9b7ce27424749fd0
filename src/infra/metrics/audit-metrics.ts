import type { Metrics } from './registry.ts';

type AuditStatus = Readonly<{ waiting: number; problem: string | null }>;

const kinds = ['entry', 'anchor'] as const;

/** The audit trail: what could not be kept as it should, at once or at all. */
export const auditMetrics = (metrics: Metrics) => {
  const failures = metrics.counter({
    name: 'sendense_audit_failures_total',
    help: 'Entries of the audit trail that are late or lost, and anchors that were not written to a repository',
    labels: ['kind'],
  });
  for (const kind of kinds) failures.inc({ kind }, 0);
  return {
    countFailure: (kind: (typeof kinds)[number]): void => failures.inc({ kind }),
    addStatus: (status: () => AuditStatus): void => {
      const waiting = metrics.gauge({
        name: 'sendense_audit_entries_waiting',
        help: 'Entries of the audit trail that are not on disk yet',
      });
      const recording = metrics.gauge({
        name: 'sendense_audit_recording',
        help: 'Whether the audit trail gets on (1) or is in trouble and tries again (0)',
      });
      metrics.addSource({
        name: 'audit',
        gauges: [waiting, recording],
        read: async () => status(),
        write: (now) => {
          waiting.set(now.waiting);
          recording.set(now.problem === null ? 1 : 0);
        },
      });
    },
  };
};
