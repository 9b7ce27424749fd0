import { z } from 'zod';
import type { EventStore } from '#commands/ports.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { narrate } from '#domain/backup/narrate.ts';
import { DomainError } from '#domain/errors.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { streamOf } from '#domain/streams.ts';
import { type Endpoint, resource } from '../route.ts';

export type JobRoutesDeps = Readonly<{ store: Pick<EventStore, 'readForwards'> }>;

export const JobEvent = z
  .object({
    revision: z.int().meta({ description: 'Number of the event in the job, from 0' }),
    position: z.string().meta({ description: 'Position in the log; a decimal, beyond what a number holds' }),
    time: z.string(),
    type: z.string(),
    actor: z.string(),
    text: z.string().meta({ description: 'What happened, in words' }),
    correlation_id: z.string().nullable(),
    causation_id: z.string().nullable(),
    event_id: z.string(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'JobEvent' });

export const jobEventToWire = (recorded: RecordedEvent<BackupEvent>): z.input<typeof JobEvent> => {
  const { event, metadata } = recorded;
  return {
    revision: Number(recorded.revision),
    position: recorded.position.toString(),
    time: recorded.recordedAt,
    type: event.type,
    actor: metadata.by,
    text: narrate(event),
    correlation_id: metadata.$correlationId ?? null,
    causation_id: metadata.$causationId ?? null,
    event_id: recorded.id,
    data: { ...event.data },
  };
};

const readEvents = async ({ store }: JobRoutesDeps, jobId: string, page: Readonly<{ from: number; limit: number }>) => {
  const events: z.input<typeof JobEvent>[] = [];
  for await (const recorded of store.readForwards<BackupEvent>(streamOf.backup(jobId), BigInt(page.from))) {
    events.push(jobEventToWire(recorded));
    if (events.length === page.limit) break;
  }
  return events;
};

const wholeNumber = (fallback: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, 'must be a whole number')
    .optional()
    .transform((value) => Math.min(value === undefined ? fallback : Number(value), max));

export const jobEndpoints = (deps: JobRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Jobs', group: 'E1' });
  return [
    endpoint('GET /jobs/:id/events', {
      summary: 'The audit trail of a job: every step, who did it, in words and as data',
      query: z.object({ from: wholeNumber(0, Number.MAX_SAFE_INTEGER), limit: wholeNumber(200, 1000) }),
      reply: z.object({ job_id: z.string(), events: z.array(JobEvent), count: z.int() }),
      errors: ['job-not-found'],
      handle: async ({ params, query }) => {
        const events = await readEvents(deps, params.id, query);
        if (events.length === 0 && query.from === 0) {
          throw new DomainError('job-not-found', `there is no job ${params.id}`, { jobId: params.id });
        }
        return { job_id: params.id, events, count: events.length };
      },
    }),
  ];
};
