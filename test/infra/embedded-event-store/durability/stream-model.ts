import assert from 'node:assert/strict';
import { type EventStoreDBClient, StreamDeletedError, StreamNotFoundError } from '@eventstore/db-client';

/** What a stream must look like, by what its only writer was told. */
export type StreamState = Readonly<{
  /** Of every event ever appended, by revision. */
  ids: readonly string[];
  /** Revisions before it are hidden and may be scavenged. */
  hiddenBefore: number;
  fate: 'alive' | 'deleted' | 'tombstoned';
}>;

export const newStream: StreamState = { ids: [], hiddenBefore: 0, fate: 'alive' };

export const appended = ({ ids, hiddenBefore, fate }: StreamState, more: readonly string[]): StreamState => ({
  ids: [...ids, ...more],
  hiddenBefore: fate === 'deleted' ? ids.length : hiddenBefore, // an append brings a deleted stream back without its past
  fate: 'alive',
});

export const truncated = (state: StreamState, before: number): StreamState => ({ ...state, hiddenBefore: before });

export const deleted = (state: StreamState): StreamState => ({
  ...state,
  hiddenBefore: state.ids.length,
  fate: 'deleted',
});

export const tombstoned = (state: StreamState): StreamState => ({ ...deleted(state), fate: 'tombstoned' });

/** What a reader gets: the ids by revision, or why nothing. */
type Seen = readonly string[] | 'not found' | 'deleted';

const expectedOf = ({ ids, hiddenBefore, fate }: StreamState): Seen => {
  if (fate === 'tombstoned') return 'deleted';
  if (fate === 'deleted' || ids.length === 0) return 'not found';
  return ids.map((id, revision) => `${revision}:${id}`).slice(hiddenBefore);
};

const read = async (client: EventStoreDBClient, name: string): Promise<Seen> => {
  try {
    const seen: string[] = [];
    for await (const { event } of client.readStream(name)) seen.push(`${event?.revision}:${event?.id}`);
    return seen;
  } catch (error) {
    if (error instanceof StreamNotFoundError) return 'not found';
    if (error instanceof StreamDeletedError) return 'deleted';
    throw error;
  }
};

/** Returns which of the states the stream is in: several while the fate of its last change is unknown. */
export const observed = async (
  client: EventStoreDBClient,
  name: string,
  states: readonly StreamState[],
): Promise<StreamState> => {
  const seen = await read(client, name);
  const found = states.find((state) => JSON.stringify(expectedOf(state)) === JSON.stringify(seen));
  if (!found) assert.deepEqual(seen, states[0] && expectedOf(states[0]), `stream ${name}`);
  assert.ok(found);
  return found;
};

/** The log may lack what is hidden, but only from the beginning on; the rest is there in order, once. */
export const checkLog = (name: string, state: StreamState, inLog: readonly string[]): void => {
  const all = state.ids.map((id, revision) => `${revision}:${id}`);
  const gone = all.length - inLog.length;
  assert.deepEqual(inLog, all.slice(Math.max(0, gone)), `stream ${name} in the log`);
  assert.ok(gone <= state.hiddenBefore, `stream ${name} lacks ${gone}, of which ${state.hiddenBefore} may be gone`);
};
