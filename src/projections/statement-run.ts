import type { CompiledQuery } from 'kysely';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { HandlerFault } from './faults.ts';
import type { AnyProjection, ReadModelDb, Statement } from './projection.ts';

type Entry = Readonly<{ type: string; statement: Statement }>;

/** Throws `HandlerFault`: whatever fails here is the event's, or its handler's, fault. */
const faultOf = <T>(type: string, work: () => T): T => {
  try {
    return work();
  } catch (error) {
    throw new HandlerFault(type, error);
  }
};

/** The statements of one event. Throws `HandlerFault`. */
export const statementsOf = (
  { on }: AnyProjection,
  { event, ...where }: RecordedEvent,
  db: ReadModelDb,
): readonly Statement[] => faultOf(event.type, () => on[event.type]?.({ ...where, data: event.data }, db) ?? []);

/** Throws `HandlerFault`. */
export const compiled = (type: string, statement: Statement): CompiledQuery => faultOf(type, () => statement.compile());

/** The statements of a batch, in order; of those that a later one overwrites, none is built. */
export class StatementRun {
  readonly #entries: (Entry | undefined)[] = [];
  readonly #latest = new Map<string, number>();

  /** `scope`: statements of another one are never taken for the same. */
  add(scope: string, type: string, statements: readonly Statement[]): void {
    for (const statement of statements) {
      const { latestOf: name } = statement;
      if (name !== undefined) this.#overwrite(`${scope} ${name}`);
      this.#entries.push({ type, statement });
    }
  }

  /** What comes now may rest on everything before it. */
  cut(): void {
    this.#latest.clear();
  }

  /** Throws `HandlerFault`. */
  compile(): readonly CompiledQuery[] {
    return this.#entries.flatMap((entry) => (entry ? [compiled(entry.type, entry.statement)] : []));
  }

  #overwrite(key: string): void {
    const earlier = this.#latest.get(key);
    if (earlier !== undefined) this.#entries[earlier] = undefined;
    this.#latest.set(key, this.#entries.length);
  }
}
