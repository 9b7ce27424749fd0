import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { streamOf } from '#domain/streams.ts';
import { applyBatch, readCheckpoints } from '#projections/apply.ts';
import { type AnyProjection, anyProjection, type ReadModelDb } from '#projections/projection.ts';

type Named = Readonly<{ backupId?: string; jobId?: string; exportId?: string }>;

const streamFor = (event: DomainEvent): string => {
  const { backupId, jobId, exportId } = event.data as Named;
  if (event.type.startsWith('NbdPorts')) return streamOf.nbdPorts('hub-1');
  if (exportId !== undefined) return streamOf.nbdExport(exportId);
  return event.type === 'ProgressReported' ? streamOf.telemetry(jobId ?? '') : streamOf.backup(backupId ?? '');
};

/** Events as a log would hold them, from a position on. */
export const logOf = (events: readonly DomainEvent[], from = 0n): readonly RecordedEvent[] =>
  events.map((event, index) => ({
    ...{ event, id: `event-${from + BigInt(index)}`, stream: streamFor(event), revision: BigInt(index) },
    ...{
      position: from + BigInt(index) + 1n,
      recordedAt: '2026-11-22T02:16:05.000Z',
      metadata: { by: 'system', v: 1 },
    },
  }));

/** Tells a projection one event after the other, each in a transaction of its own, as it goes when it is live. */
export const createTeller = (
  db: ReadModelDb,
  projection: Readonly<{ name: string; tables: AnyProjection['tables']; on: object }>,
) => {
  let position = 0n;
  return async (...events: readonly DomainEvent[]): Promise<void> => {
    if (position === 0n) await readCheckpoints(db, [anyProjection(projection)]);
    for (const recorded of logOf(events, position)) {
      position = recorded.position;
      await applyBatch(db, [anyProjection(projection)], { events: [recorded], position });
    }
  };
};
