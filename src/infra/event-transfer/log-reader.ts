import { setTimeout as delay } from 'node:timers/promises';
import type { EventStoreDBClient } from '@eventstore/db-client';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { ReadReq, ReadResp } from '@eventstore/db-client/generated/streams_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import { StoreUnavailable } from '#commands/ports.ts';
import { isTransient } from '../event-store/retry.ts';
import { callRead } from './client-calls.ts';
import { createdFromTicks, isTransferable, type StoredEvent } from './stored-event.ts';

type GrpcEvent = NonNullable<ReturnType<ReadResp.ReadEvent['getEvent']>>;

const everything = '18446744073709551615';
const largestPage = 256;
const retries = { attempts: 12, delayMs: 500 };

/** Where to go on in the log. Real servers want the position of an event, so an excluded one is read and dropped. */
export type Cursor = Readonly<{ position: bigint; inclusive: boolean }>;

const toStored = (event: GrpcEvent): StoredEvent => {
  const metadata = event.getMetadataMap();
  return {
    stream: Buffer.from(event.getStreamIdentifier()?.getStreamName_asU8() ?? []).toString('utf8'),
    revision: BigInt.asUintN(64, BigInt(event.getStreamRevision())),
    position: BigInt(event.getCommitPosition()),
    type: metadata.get('type') ?? '',
    id: event.getId()?.getString() ?? '',
    created: createdFromTicks(metadata.get('created') ?? '0'),
    contentType: metadata.get('content-type') ?? 'application/octet-stream',
    metadata: event.getCustomMetadata_asU8(),
    data: event.getData_asU8(),
  };
};

const { Options } = streams.ReadReq;

const requestOf = (options: ReadReq.Options, direction: 'forwards' | 'backwards' = 'forwards'): ReadReq => {
  const { FORWARDS, BACKWARDS } = Options.ReadDirection;
  options
    .setResolveLinks(false)
    .setUuidOption(new Options.UUIDOption().setString(new shared.Empty()))
    .setReadDirection(direction === 'forwards' ? FORWARDS : BACKWARDS);
  if (!options.hasFilter()) options.setNoFilter(new shared.Empty());
  return new streams.ReadReq().setOptions(options);
};

const allFrom = (from: bigint | 'start' | 'end'): ReadReq.Options => {
  const all = new Options.AllOptions();
  if (from === 'start') all.setStart(new shared.Empty());
  else if (from === 'end') all.setEnd(new shared.Empty());
  else {
    const position = new Options.Position().setCommitPosition(String(from)).setPreparePosition(String(from));
    all.setPosition(position);
  }
  return new Options().setAll(all);
};

const readAllRequest = (from: bigint | 'start' | 'end', direction: 'forwards' | 'backwards', count: string): ReadReq =>
  requestOf(allFrom(from).setCount(count), direction);

async function* readOnce(
  client: EventStoreDBClient,
  request: ReadReq,
  signal?: AbortSignal,
): AsyncIterable<StoredEvent> {
  const call = await callRead(client, request);
  const cancel = (): void => call.cancel();
  let ended = false;
  call.once('end', () => {
    ended = true;
  });
  signal?.addEventListener('abort', cancel, { once: true });
  // One listener more than the iteration has: what it tears down may fail once more, after nobody listens.
  call.on('error', () => undefined);
  try {
    for await (const response of call.iterator({ destroyOnReturn: false }) as AsyncIterable<ReadResp>) {
      const event = response.getEvent()?.getEvent();
      if (event) yield toStored(event);
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
    if (!ended) call.cancel();
    // Read to its end instead of destroyed: the client waits for it when it is disposed of.
    call.resume();
  }
}

/**
 * All events of the log from `cursor` to the position `to`, byte for byte, those of the system included. A store that
 * goes away is waited for, and the reading goes on where it was.
 */
export async function* readLog(
  client: EventStoreDBClient,
  { cursor, to }: Readonly<{ cursor: Cursor | undefined; to: bigint }>,
  signal?: AbortSignal,
): AsyncIterable<StoredEvent> {
  let next = cursor;
  for (let attempt = 1; ; attempt += 1) {
    try {
      for await (const event of readOnce(client, readAllRequest(next?.position ?? 'start', 'forwards', everything))) {
        signal?.throwIfAborted();
        // Read on to the end, which is near: a call that is broken off costs the client its connection.
        if (event.position > to) continue;
        if (next && (next.inclusive ? event.position < next.position : event.position <= next.position)) continue;
        yield event;
        next = { position: event.position, inclusive: false };
        attempt = 1;
      }
      return;
    } catch (error) {
      signal?.throwIfAborted();
      if (!isTransient(error)) throw error;
      if (attempt >= retries.attempts) throw new StoreUnavailable('the event store does not answer', { cause: error });
      await delay(retries.delayMs, undefined, signal ? { signal } : {});
    }
  }
}

/** The part of the log that is history: see `isTransferable`. */
export async function* readHistory(...args: Parameters<typeof readLog>): AsyncIterable<StoredEvent> {
  for await (const event of readLog(...args)) if (isTransferable(event.stream)) yield event;
}

/** The newest event of the history before `position`, or of all of it. */
export const newestBefore = async (
  client: EventStoreDBClient,
  position: bigint | 'end',
): Promise<StoredEvent | undefined> => {
  let before = position;
  for (let size = 1; ; size = Math.min(4 * size, largestPage)) {
    // Whole pages: a call that is broken off costs the client its connection.
    const page: StoredEvent[] = [];
    for await (const event of readOnce(client, readAllRequest(before, 'backwards', String(size)))) page.push(event);
    const found = page.find(({ stream }) => isTransferable(stream));
    const last = page.at(-1);
    if (found || !last) return found;
    before = last.position;
  }
};

/** The first event that the log still has, of whichever stream. */
export const oldestEvent = async (client: EventStoreDBClient): Promise<StoredEvent | undefined> => {
  let oldest: StoredEvent | undefined;
  for await (const event of readOnce(client, readAllRequest('start', 'forwards', '1'))) oldest = event;
  return oldest;
};

/**
 * What EventStoreDB answers to a position at which no event of its log begins: UNKNOWN ("Trying to read from an invalid
 * position", before 24.2 something unexpected), INVALID_ARGUMENT, INTERNAL.
 */
const noSuchPosition: ReadonlySet<unknown> = new Set([2, 3, 13]);

/** The event at exactly that position; undefined when there is none, or no longer, or could not be one. */
export const eventAt = async (client: EventStoreDBClient, position: bigint): Promise<StoredEvent | undefined> => {
  let found: StoredEvent | undefined;
  try {
    for await (const event of readOnce(client, readAllRequest(position, 'forwards', '1'))) {
      if (event.position === position) found = event;
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && noSuchPosition.has(error.code))) throw error;
  }
  return found;
};

/** The events of a stream that its readers see, oldest first; none for a stream that is not there. */
export const readStored = (client: EventStoreDBClient, stream: string): AsyncIterable<StoredEvent> => {
  const identifier = new shared.StreamIdentifier().setStreamName(Buffer.from(stream));
  const options = new Options.StreamOptions().setStreamIdentifier(identifier).setStart(new shared.Empty());
  return readOnce(client, requestOf(new Options().setStream(options).setCount(everything)));
};

/** What is appended from now on, or all from a position on, until the signal. */
export async function* followLog(
  client: EventStoreDBClient,
  { from, prefix }: Readonly<{ from: bigint | 'end'; prefix?: string }>,
  signal: AbortSignal,
): AsyncIterable<StoredEvent> {
  const options = allFrom(from === 0n ? 'start' : from).setSubscription(new Options.SubscriptionOptions());
  if (prefix !== undefined) {
    const streams = new Options.FilterOptions.Expression().setPrefixList([prefix]);
    const filter = new Options.FilterOptions().setStreamIdentifier(streams);
    options.setFilter(filter.setMax(32).setCheckpointintervalmultiplier(1000));
  }
  yield* readOnce(client, requestOf(options), signal);
}
