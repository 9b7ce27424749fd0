import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { streamOf } from '#domain/streams.ts';
import { applyBatch } from '#projections/apply.ts';
import { noDecisions } from '#projections/decisions.ts';
import { liveGeneration } from '#projections/generation.ts';
import { ensureGenerations } from '#projections/generations.ts';
import type { SourceEvents } from '#projections/ports.ts';
import { PreparedStatements } from '#projections/prepared.ts';
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

async function* nothingToRead() {}

/** A batch at once, as when catching up. The tables are those of the projections' live generations. */
export const applyTo = async (
  db: ReadModelDb,
  projections: readonly AnyProjection[],
  batch: SourceEvents,
): Promise<void> => {
  const generations = projections.map(liveGeneration);
  await ensureGenerations(db, generations);
  await applyBatch(
    { db, generations, readStream: nothingToRead, decisions: noDecisions, prepared: new PreparedStatements() },
    batch,
  );
};

/** Tells a projection one event after the other, each in a transaction of its own, as it goes when it is live. */
export const createTeller = (
  db: ReadModelDb,
  projection: Readonly<{ name: string; tables: AnyProjection['tables']; on: object }>,
) => {
  let position = 0n;
  const generations = [liveGeneration(anyProjection(projection))];
  const target = {
    db,
    generations,
    readStream: nothingToRead,
    decisions: noDecisions,
    prepared: new PreparedStatements(),
  };
  return async (...events: readonly DomainEvent[]): Promise<void> => {
    for (const recorded of logOf(events, position)) {
      position = recorded.position;
      await applyBatch(target, { events: [recorded], position });
    }
  };
};
