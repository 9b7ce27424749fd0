import { z } from 'zod';
import type { DomainEvent } from '#domain/decider.ts';
import { HttpProblem } from './errors.ts';
import { Answer, type Endpoint, type RawRequest } from './route.ts';

export type DryRunReport = Readonly<{
  /** In the order in which they would be appended. Null stands for what is known only once it is done. */
  wouldAppend: readonly Readonly<{ stream: string; event: DomainEvent }>[];
  /** What the hub would do then by itself, in words. */
  wouldFollow: readonly string[];
}>;

/** Runs an endpoint's command without any effect. Throws what the command would refuse with. */
export type DryRun = (endpoint: Endpoint, request: RawRequest) => Promise<DryRunReport>;

export const DryRunReply = z
  .object({
    dry_run: z.literal(true),
    accepted: z.literal(true),
    would_append: z.array(
      z.object({ stream: z.string(), type: z.string(), data: z.record(z.string(), z.unknown()) }).readonly(),
    ),
    would_follow: z.array(z.string()),
  })
  .meta({ id: 'DryRun', description: 'What the command would append and what would follow; nothing was changed' });

const Query = z.object({ dry_run: z.literal('true') });

const assertPlain = ({ query }: RawRequest): void => {
  if (Query.safeParse(query).success) return;
  const message = 'Invalid request: dry_run must be true or false';
  throw new HttpProblem({ status: 400, code: 'invalid-request', message });
};

export const dryRunReply = async (dryRun: DryRun, endpoint: Endpoint, request: RawRequest): Promise<Answer> => {
  assertPlain(request);
  const { wouldAppend, wouldFollow } = await dryRun(endpoint, request);
  const events = wouldAppend.map(({ stream, event }) => ({ stream, type: event.type, data: event.data }));
  // Through JSON, as the log would keep it.
  const body = JSON.parse(
    JSON.stringify({ dry_run: true, accepted: true, would_append: events, would_follow: wouldFollow }),
  );
  return new Answer(200, DryRunReply.parse(body), {});
};

/** Refused, never ignored: whoever asks for a dry run must not get the real thing. */
export const refuseDryRun = async (request: RawRequest): Promise<never> => {
  assertPlain(request);
  const message = 'This cannot be tried without doing it; leave dry_run out to do it';
  throw new HttpProblem({ status: 400, code: 'dry-run-unsupported', message });
};
