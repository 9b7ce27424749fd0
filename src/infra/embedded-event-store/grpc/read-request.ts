import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { Direction } from '../event-reader.ts';
import { type EventFilter, readEventFilter } from './event-filter.ts';
import { invalidArgument } from './rpc-error.ts';
import { readStreamName } from './stream-name.ts';

/** A revision in a stream, a position in $all. */
export type ReadFrom = 'start' | 'end' | number;

export type ReadTarget = Readonly<{ kind: 'stream'; streamName: string }> | Readonly<{ kind: 'all' }>;

export type ReadRequest = Readonly<{
  target: ReadTarget;
  from: ReadFrom;
  direction: Direction;
  maxCount: number;
  subscription: boolean;
  resolveLinks: boolean;
  structuredIds: boolean;
  filter?: EventFilter;
}>;

/** With what the caller may see besides: a link may lead to a stream that is closed to them. */
export type AuthorisedRead = ReadRequest & Readonly<{ mayRead: (streamName: string) => boolean }>;

/** Clients write "as far as possible" as 2^64 - 1; no log gets near it. */
const clamp = (decimal: string): number => Math.min(Number(decimal), Number.MAX_SAFE_INTEGER);

const readTarget = (options: ReadReq.Options): Pick<ReadRequest, 'target' | 'from'> => {
  const stream = options.getStream();
  if (stream) {
    const target = { kind: 'stream', streamName: readStreamName(stream.getStreamIdentifier()) } as const;
    if (stream.hasRevision()) return { target, from: clamp(stream.getRevision()) };
    return { target, from: stream.hasEnd() ? 'end' : 'start' };
  }
  const all = options.getAll();
  if (!all) throw invalidArgument('Neither a stream nor $all is to be read.');
  const position = all.getPosition();
  if (position) return { target: { kind: 'all' }, from: clamp(position.getCommitPosition()) };
  return { target: { kind: 'all' }, from: all.hasEnd() ? 'end' : 'start' };
};

/** Throws `RpcError`. */
export const readReadRequest = (request: ReadReq): ReadRequest => {
  const options = request.getOptions();
  const uuidOption = options?.getUuidOption();
  if (!options || !uuidOption) throw invalidArgument('The form of the event ids (uuid_option) is missing.');
  const { FORWARDS, BACKWARDS } = streams.ReadReq.Options.ReadDirection;
  const direction = options.getReadDirection();
  if (direction !== FORWARDS && direction !== BACKWARDS) throw invalidArgument('Unknown direction.');
  const subscription = options.hasSubscription();
  if (subscription && direction === BACKWARDS) throw invalidArgument('A subscription reads forwards only.');
  if (!subscription && !options.hasCount()) throw invalidArgument('Neither a count nor a subscription is asked for.');
  const { target, from } = readTarget(options);
  const filterOptions = options.getFilter();
  if (filterOptions && target.kind === 'stream') throw invalidArgument('Only $all can be filtered.');
  return {
    target,
    from,
    direction: direction === FORWARDS ? 'forwards' : 'backwards',
    maxCount: subscription ? Number.MAX_SAFE_INTEGER : clamp(options.getCount()),
    subscription,
    resolveLinks: options.getResolveLinks(),
    structuredIds: uuidOption.hasStructured(),
    ...(filterOptions && { filter: readEventFilter(filterOptions, subscription) }),
  };
};
