import { z } from 'zod';
import { HttpProblem } from '../errors.ts';
import { eventFrames, type JobChangeFeed } from '../event-stream.ts';
import { type Endpoint, resource } from '../route.ts';

export type EventStreamDeps = Readonly<{
  feed: JobChangeFeed;
  heartbeatMs?: number;
  maxClients?: number;
  /** A reader has to come back, and show its token again, after this time. */
  maxDurationMs?: number;
}>;

export const eventStreamEndpoints = (deps: EventStreamDeps): readonly Endpoint[] => {
  const { feed, heartbeatMs = 15_000, maxClients = 100, maxDurationMs = 3_600_000 } = deps;
  const { stream } = resource({ tag: 'Jobs', group: 'E1' });
  let clients = 0;
  return [
    stream('GET /events/stream', {
      summary: 'Changes of jobs as they happen, as server-sent events',
      description:
        'Each event’s id is its position in the log. A reader that sends the last one it saw, as Last-Event-ID or as ' +
        '`last_event_id`, gets everything after it; one that sends none gets what happens from now on.',
      query: z.object({ last_event_id: z.string().optional() }),
      contentType: 'text/event-stream',
      handle: async ({ query, header, signal }) => {
        // A browser that comes back sends the header, while its URL still has the position it began with.
        const from = positionFrom(header('last-event-id') ?? query.last_event_id);
        if (clients >= maxClients) throw tooManyClients();
        clients += 1;
        const bounded = AbortSignal.any([signal, AbortSignal.timeout(maxDurationMs)]);
        return {
          body: eventFrames(feed, { from, heartbeatMs, signal: bounded }),
          headers: { 'x-accel-buffering': 'no' }, // a proxy that gathers the reply would deliver it never
          release: () => {
            clients -= 1;
          },
        };
      },
    }),
  ];
};

const positionFrom = (text: string | undefined): bigint | 'end' => {
  if (text === undefined) return 'end';
  if (/^\d{1,19}$/.test(text)) return BigInt(text);
  const message = 'Invalid request: Last-Event-ID is not a position; send the id of an event, or none';
  throw new HttpProblem({ status: 400, code: 'invalid-request', message });
};

const tooManyClients = (): HttpProblem =>
  new HttpProblem({
    status: 503,
    code: 'too-many-readers',
    message: 'Too many clients follow the events; try again later',
    headers: { 'retry-after': '30' },
  });
