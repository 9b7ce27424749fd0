import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import { StoreDamaged } from '#infra/embedded-event-store/damage.ts';
import { type EventStorage, openEventStorage } from '#infra/embedded-event-store/event-storage.ts';
import { noStream } from '#infra/embedded-event-store/expected-revision.ts';
import type { ProposedEvent } from '#infra/embedded-event-store/recorded-event.ts';

export const proposed = (text: string, type = 'Happened'): ProposedEvent => ({
  id: randomUUID(),
  type,
  contentType: 'application/json',
  data: Buffer.from(JSON.stringify({ text })),
  customMetadata: Buffer.alloc(0),
});

const throwUncaught = (error: unknown): void => {
  setImmediate(() => {
    throw error;
  });
};

export const openStorage = async (t: TestContext, dataDir: string, maxSizeBytes?: number): Promise<EventStorage> => {
  const storage = await openEventStorage({
    dataDir,
    scavengeEveryMs: 0,
    failed: throwUncaught,
    ...(maxSizeBytes !== undefined && { maxSizeBytes }),
  });
  let closed = false;
  const close = () => {
    if (!closed) storage.close();
    closed = true;
  };
  t.after(close);
  return { ...storage, close };
};

const streamNames = Array.from({ length: 12 }, (_, n) => `order-${n}`);

/** A store of some hundred events in all kinds of streams, some of them scavenged. */
export const fill = async (storage: EventStorage): Promise<void> => {
  for (let round = 0; round < 12; round += 1) {
    await Promise.all(
      streamNames.map((streamName, index) => {
        const events = [proposed(`${round}`), proposed('x'.repeat(index * 200), `Type${index % 3}`)];
        return storage.append({ streamName, expected: { kind: 'any' }, events }, 1000);
      }),
    );
  }
  await storage.append({ streamName: '$$order-1', expected: noStream, events: [proposed('')] }, 100);
  const metadata = { ...proposed('', '$metadata'), data: Buffer.from('{"$tb":7}') };
  await storage.append({ streamName: '$$order-2', expected: noStream, events: [metadata] }, 100);
  await storage.delete('order-3', { kind: 'any' });
  await storage.tombstone('order-4', { kind: 'any' });
  for await (const _progress of storage.scavenge());
};

type Answers = ReadonlyMap<string, string>;

const orDamage = (answers: Map<string, string>, question: string, ask: () => string): void => {
  try {
    answers.set(question, ask());
  } catch (error) {
    if (!(error instanceof StoreDamaged)) throw error;
    answers.set(question, 'damaged');
  }
};

const hex = (record: Uint8Array | undefined): string => (record ? Buffer.from(record).toString('hex') : 'none');

const readLog = (storage: EventStorage, direction: 'forwards' | 'backwards', onlyType?: string): string => {
  const seen: string[] = [];
  let range = { from: 1, to: storage.lastPosition() };
  for (;;) {
    const page = storage.reader.allPage(range, direction, (_, type) => onlyType === undefined || type === onlyType);
    seen.push(...page.map(({ position, record }) => `${position} ${hex(record)}`));
    const last = page.at(-1)?.position;
    if (last === undefined) return seen.join('\n');
    range = direction === 'forwards' ? { ...range, from: last + 1 } : { ...range, to: last - 1 };
  }
};

const readStream = ({ reader }: EventStorage, name: string, direction: 'forwards' | 'backwards'): string => {
  if (reader.isDeleted(name)) return 'deleted';
  if (reader.isMissing(name)) return 'missing';
  const seen: string[] = [];
  let range = reader.visibleRange(name);
  for (;;) {
    const page = reader.streamPage(name, range, direction);
    seen.push(...page.map(({ revision, record }) => `${revision} ${hex(record)}`));
    const last = page.at(-1)?.revision;
    if (last === undefined) return seen.join('\n');
    range = direction === 'forwards' ? { ...range, from: last + 1 } : { ...range, to: last - 1 };
  }
};

/** Everything that can be asked of the store, and what it answers; `damaged` where it refuses. */
export const askEverything = (storage: EventStorage): Answers => {
  const answers = new Map<string, string>();
  for (const direction of ['forwards', 'backwards'] as const) {
    orDamage(answers, `log ${direction}`, () => readLog(storage, direction));
    orDamage(answers, `log ${direction}, one type`, () => readLog(storage, direction, 'Type1'));
    for (const name of [...streamNames, '$$order-2', '$$order-3', 'never-written', '$stats', '$$$stats']) {
      orDamage(answers, `${name} ${direction}`, () => readStream(storage, name, direction));
    }
  }
  for (const name of streamNames)
    orDamage(answers, `event 9 of ${name}`, () => hex(storage.reader.streamEvent(name, 9)?.record));
  orDamage(answers, 'last position', () => String(storage.lastPosition()));
  return answers;
};
