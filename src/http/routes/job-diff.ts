import { z } from 'zod';
import type { EventStore } from '#commands/ports.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import { type ChangedField, diffOf } from '#domain/backup/diff.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { fold } from '#domain/decider.ts';
import { DomainError } from '#domain/errors.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { streamOf } from '#domain/streams.ts';
import { parseAsOf } from '../as-of.ts';
import { type Endpoint, resource } from '../route.ts';
import { JobEvent, jobEventToWire } from './jobs.ts';

export type JobDiffDeps = Readonly<{ store: Pick<EventStore, 'read'> }>;

type JobRecord = RecordedEvent<BackupEvent>;

/** Whether an event had happened at one end of the comparison. */
type Happened = (event: JobRecord) => boolean;

const rule =
  'must be a time such as 2026-11-22T02:16:05Z, a position of the log such as 1234, or an event of the job such as revision:5';

const revisionOf = (text: string): bigint | undefined => {
  const digits = /^revision:(\d{1,9})$/.exec(text)?.[1];
  return digits === undefined ? undefined : BigInt(digits);
};

const isEnd = (text: string): boolean => text === '' || revisionOf(text) !== undefined || parseAsOf(text) !== undefined;

const end = z.string().refine(isEnd, rule).optional();

const endOf = (text: string | undefined): Happened | undefined => {
  if (text === undefined || text === '') return undefined;
  const revision = revisionOf(text);
  if (revision !== undefined) return (event) => event.revision <= revision;
  const asOf = parseAsOf(text);
  if (!asOf) return undefined;
  return 'time' in asOf ? (event) => event.recordedAt <= asOf.time : (event) => event.position <= asOf.position;
};

const Value = z.union([z.string(), z.number(), z.boolean(), z.null()]);

const Change = z
  .object({
    disk_id: z.int().nullable().meta({ description: 'Null for the job itself' }),
    field: z.string(),
    before: Value,
    after: Value,
  })
  .meta({ id: 'JobChange' });

const Moment = z.object({ revision: z.int().nullable(), position: z.string().nullable(), time: z.string().nullable() });

const Diff = z
  .object({ job_id: z.string(), from: Moment, to: Moment, changes: z.array(Change), events: z.array(JobEvent) })
  .meta({ id: 'JobDiff' });

/** The last event that had happened; nulls before the first. */
const momentOf = (last: JobRecord | undefined): z.input<typeof Moment> =>
  last
    ? { revision: Number(last.revision), position: last.position.toString(), time: last.recordedAt }
    : { revision: null, position: null, time: null };

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const changeToWire = ({ diskIndex, field, before, after }: ChangedField): z.input<typeof Change> => ({
  ...{ disk_id: diskIndex, field: snakeCase(field), before, after },
});

const stateAfter = (events: readonly JobRecord[]) =>
  fold(
    backupDecider,
    events.map(({ event }) => event),
  );

export const jobDiffEndpoints = ({ store }: JobDiffDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Jobs', group: 'E1' });
  return [
    endpoint('GET /jobs/:id/diff', {
      summary: 'What changed in a job between two moments: fields of the job and its disks, and the events in between',
      description:
        `Each end ${rule}. Without \`from\` it begins before the first event, without \`to\` it ends now. ` +
        'An event at `from` has happened already; one at `to` is part of the difference.',
      query: z.object({ from: end, to: end }),
      reply: Diff,
      errors: ['job-not-found', 'invalid-request'],
      handle: async ({ params, query, signal }) => {
        const { events } = await store.read<BackupEvent>(streamOf.backup(params.id), signal);
        if (events.length === 0) {
          throw new DomainError('job-not-found', `there is no job ${params.id}`, { jobId: params.id });
        }
        const before = events.filter(endOf(query.from) ?? (() => false));
        const after = events.filter(endOf(query.to) ?? (() => true));
        if (after.length < before.length) {
          throw new DomainError('invalid-request', 'Invalid request: `from` lies after `to`; exchange them');
        }
        return {
          ...{ job_id: params.id, from: momentOf(before.at(-1)), to: momentOf(after.at(-1)) },
          changes: diffOf(stateAfter(before), stateAfter(after)).map(changeToWire),
          events: after.slice(before.length).map(jobEventToWire),
        };
      },
    }),
  ];
};
