import {
  AccessDeniedError,
  BACKWARDS,
  END,
  type EventStoreDBClient,
  StreamDeletedError,
  StreamNotFoundError,
} from '@eventstore/db-client';
import type { LogIdentity, LogMark, MarkFound } from '#projections/ports.ts';
import { eventAt, newestBefore, oldestEvent } from '../event-transfer/log-reader.ts';
import { refOf } from '../event-transfer/stored-event.ts';
import { defaultRetry, withRetry } from './retry.ts';

type InStream = Readonly<{ state: 'there'; position: bigint | undefined }> | Readonly<{ state: 'gone' | 'absent' }>;

/** `gone`: the stream went past that revision, and the event was truncated since. */
const lookInStream = async (client: EventStoreDBClient, { stream, revision, id }: LogMark): Promise<InStream> => {
  let found: InStream = { state: 'absent' };
  try {
    for await (const { event } of client.readStream(stream, { direction: BACKWARDS, fromRevision: END, maxCount: 1 })) {
      if (event && event.revision >= revision) found = { state: 'gone' };
    }
    for await (const { event } of client.readStream(stream, { fromRevision: revision, maxCount: 1 })) {
      if (event?.revision !== revision) continue;
      found = event.id === id ? { state: 'there', position: event.position?.commit } : { state: 'absent' };
    }
  } catch (error) {
    // The first event of a server's log is in a stream of its own, which not everybody may read who may read `$all`.
    const isNoStream = [StreamNotFoundError, StreamDeletedError, AccessDeniedError].some(
      (kind) => error instanceof kind,
    );
    if (!isNoStream) throw error;
  }
  return found;
};

const gone = (idThere: string | undefined): MarkFound => (idThere === undefined ? 'removed' : 'replaced');

/** Where a log has an event. The stream is asked first: servers before 22.6 tell no positions there, and only then is `$all`. */
export const findMark = async (client: EventStoreDBClient, mark: LogMark): Promise<MarkFound> => {
  const inStream = await lookInStream(client, mark);
  if (inStream.state === 'there' && inStream.position === mark.position) return 'there';
  const idThere = (await eventAt(client, mark.position))?.id;
  if (idThere === mark.id) return 'there';
  if (inStream.state === 'there') return 'elsewhere';
  return inStream.state === 'gone' ? gone(idThere) : 'absent';
};

export const createLogIdentity = (client: EventStoreDBClient, head: () => Promise<bigint>): LogIdentity => ({
  head,
  ends: () =>
    withRetry(async () => {
      const newest = await newestBefore(client, 'end');
      const first = await oldestEvent(client);
      return newest && first && { first: refOf(first), newest: refOf(newest) };
    }, defaultRetry),
  find: (mark) => withRetry(() => findMark(client, mark), defaultRetry),
});
