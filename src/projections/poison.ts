import type { ParkedStreamEvent } from '#domain/parked-stream/parked-stream.ts';
import { type Applier, execute, type Locked, statementsFor, type Target } from './batch.ts';
import { decisionIn } from './decisions.ts';
import { faultText, isEventsFault } from './faults.ts';
import { type AnyRecord, isReadable, ParkedStreams, typeOf } from './parking.ts';
import type { ReadModelDb } from './projection.ts';
import { textOf } from './statements.ts';

type Work = Readonly<{
  tx: ReadModelDb;
  target: Target;
  parked: ParkedStreams;
  generation: Locked['generations'][number];
}>;

/** Applies one event, or tells why it cannot be applied. Throws what is not the event's fault. */
const tryApply = async ({ tx, generation }: Work, record: AnyRecord): Promise<string | undefined> => {
  if (!isReadable(record)) return record.problem;
  let texts: readonly string[];
  try {
    texts = statementsFor(generation.projection, record);
  } catch (error) {
    return faultText(error);
  }
  try {
    await execute(tx, ['savepoint one_event', ...texts, 'release savepoint one_event']);
    return undefined;
  } catch (error) {
    if (!isEventsFault(error)) throw error;
    await execute(tx, ['rollback to savepoint one_event', 'release savepoint one_event']);
    return faultText(error);
  }
};

const wasDecided = 'could not be applied when the log was followed; a decision about it comes later in the log';

/** One event of a stream that is not parked. */
const take = async (work: Work, record: AnyRecord, at: bigint, attempts = 1): Promise<void> => {
  const { parked, target, generation } = work;
  const { projection, schema } = generation;
  if (target.decisions.isOpenAt(projection.name, record, at)) {
    parked.park(schema, record, wasDecided, attempts);
    return;
  }
  const problem = await tryApply(work, record);
  if (problem !== undefined) parked.park(schema, record, problem, attempts);
};

/** Applies what waits, in order, the head first or (it is skipped) not at all; the next that fails parks the rest again. */
const release = async (work: Work, { type, data }: ParkedStreamEvent, at: bigint): Promise<void> => {
  const { parked, target, generation } = work;
  const { schema, projection } = generation;
  const { stream } = data;
  const waiting = parked.get(schema, stream);
  // Somebody else's decision came first.
  if (!waiting || waiting.headRevision !== BigInt(data.revision)) return;
  parked.release(schema, stream);
  const from = type === 'PoisonEventSkipped' ? waiting.headRevision + 1n : waiting.headRevision;
  for await (const record of target.readStream(stream, { from, to: waiting.lastRevision })) {
    if (!projection.on[typeOf(record)]) continue;
    const attempts = record.revision === waiting.headRevision ? waiting.attempts + 1 : 1;
    if (parked.get(schema, stream)) parked.wait(schema, record);
    else await take(work, record, at, attempts);
  }
};

/** Each event by itself: finds the one to blame, parks its stream and goes on with the others. */
export const applyOneByOne: Applier = async (tx, target, locked, records) => {
  const parked = await ParkedStreams.load(tx, locked.withParked);
  for (const record of records) {
    for (const generation of locked.generations) {
      const { projection, schema, seen } = generation;
      if (record.position <= seen) continue;
      const work: Work = { tx, target, parked, generation };
      const decision = isReadable(record) ? decisionIn(record, projection.name) : undefined;
      if (decision) await release(work, decision, record.position);
      else if (!projection.on[typeOf(record)]) continue;
      else if (parked.get(schema, record.stream)) parked.wait(schema, record);
      else await take(work, record, record.position);
    }
  }
  return { texts: textOf(parked.statements()) };
};
