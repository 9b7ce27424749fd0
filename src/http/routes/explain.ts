import { z } from 'zod';
import type { EventStore } from '#commands/ports.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { explain } from '#domain/backup/explain.ts';
import type { Evidence, Point, Told } from '#domain/backup/explanation.ts';
import { DomainError } from '#domain/errors.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import type { RestorePointsEvent } from '#domain/restore-points/events.ts';
import { streamOf } from '#domain/streams.ts';
import type { ProgressReported } from '#domain/telemetry/events.ts';
import { type Endpoint, resource } from '../route.ts';

export type ExplainDeps = Readonly<{ store: Pick<EventStore, 'read' | 'readForwards'> }>;

const EvidenceWire = z
  .object({
    stream: z.string(),
    revision: z.int(),
    event_id: z.string(),
    position: z.string(),
    type: z.string(),
    time: z.string(),
  })
  .meta({ id: 'Evidence' });

const PointWire = z
  .object({
    topic: z.enum(['type', 'base', 'change-id', 'wait', 'trouble', 'end', 'afterwards']),
    disk_id: z.int().nullable().meta({ description: 'Null when it is about the whole backup' }),
    text: z.string(),
    duration_ms: z.number().nullable().meta({ description: 'How long a wait that is over lasted' }),
    evidence: z.array(EvidenceWire).meta({ description: 'The events that prove it' }),
  })
  .meta({ id: 'ExplanationPoint' });

const evidenceToWire = (each: Evidence): z.input<typeof EvidenceWire> => ({
  ...{ stream: each.stream, revision: Number(each.revision), event_id: each.id, position: each.position.toString() },
  ...{ type: each.type, time: each.time },
});

const pointToWire = (point: Point): z.input<typeof PointWire> => ({
  ...{ topic: point.topic, disk_id: point.diskIndex, text: point.text, duration_ms: point.durationMs },
  evidence: point.evidence.map(evidenceToWire),
});

const between: Told['between'] = (from, to) => Date.parse(to) - Date.parse(from);

const firstOf = async <E extends RecordedEvent>(events: AsyncIterable<E>): Promise<E | undefined> => {
  for await (const event of events) return event;
  return undefined;
};

const readTold = async (
  { store }: ExplainDeps,
  backupId: string,
  signal: AbortSignal,
): Promise<Readonly<{ vmName: string; told: Told }>> => {
  const { events: job } = await store.read<BackupEvent>(streamOf.backup(backupId), signal);
  const [started] = job;
  if (started?.event.type !== 'BackupStarted') {
    throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
  }
  const { vmContextId, vmName } = started.event.data;
  const [{ events: points }, firstReport] = await Promise.all([
    store.read<RestorePointsEvent>(streamOf.restorePoints(vmContextId), signal),
    firstOf(store.readForwards<ProgressReported>(streamOf.telemetry(backupId), 0n, signal)),
  ]);
  // The beginning of a telemetry stream may be cut off by its bound: then its first event is not the first report.
  const first = firstReport?.revision === 0n ? firstReport : undefined;
  return { vmName, told: { job, points, firstReport: first, between } };
};

export const explainEndpoints = (deps: ExplainDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Backups', group: 'E1' });
  return [
    endpoint('GET /backups/:backup_id/explain', {
      summary: 'Why a backup is what it is: its type, base and change ids, its waits and its end, each with its proof',
      description: 'Also of a backup that was deleted: its events stay.',
      reply: z
        .object({ backup_id: z.string(), vm_name: z.string(), points: z.array(PointWire) })
        .meta({ id: 'Explanation' }),
      errors: ['backup-not-found'],
      handle: async ({ params, signal }) => {
        const { vmName, told } = await readTold(deps, params.backup_id, signal);
        return { backup_id: params.backup_id, vm_name: vmName, points: explain(told).map(pointToWire) };
      },
    }),
  ];
};
