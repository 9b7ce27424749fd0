import type { CompiledQuery } from 'kysely';
import { literal } from './statements.ts';

/** Far more than handlers have shapes of statements. */
const mostOnOneConnection = 1_000;

type Names = Map<string, string>;

export type Rendered = Readonly<{
  /**
   * A message of its own: PostgreSQL keeps the whole message with each statement that it prepares, and copies it with each
   * execution.
   */
  preparing: readonly string[];
  texts: readonly string[];
  /** To be called once they have run: only then is it sure what the connection has. */
  done: () => void;
}>;

/**
 * Handlers make the same few statements over and over: each is prepared once on a connection and then executed by its
 * name, which spares the database parsing and planning. Connections are told apart by their server process.
 */
export class PreparedStatements {
  readonly #prefix = `p${Math.random().toString(36).slice(2, 8)}`;
  readonly #byProcess = new Map<number, Names>();
  #count = 0;

  render(processId: number, queries: readonly CompiledQuery[]): Rendered {
    const known = this.#byProcess.get(processId) ?? new Map<string, string>();
    const names: Names = new Map(known.size < mostOnOneConnection ? known : []);
    const preparing = known.size < mostOnOneConnection ? [] : [...known.values()].map((name) => `deallocate ${name}`);
    const texts: string[] = [];
    for (const { sql, parameters } of queries) {
      let name = names.get(sql);
      if (name === undefined) {
        // Never a name twice: after a batch that failed nobody knows which of its statements were prepared.
        this.#count += 1;
        name = `${this.#prefix}_${this.#count}`;
        names.set(sql, name);
        preparing.push(`prepare ${name} as ${sql}`);
      }
      texts.push(parameters.length === 0 ? `execute ${name}` : `execute ${name}(${parameters.map(literal).join(',')})`);
    }
    // A connection that is gone takes its statements along; its number may come back.
    this.#byProcess.delete(processId);
    return { preparing, texts, done: () => this.#byProcess.set(processId, names) };
  }
}

/**
 * A plan is made once, when the tables may still be empty: it must be the one for full tables, which go by the index.
 */
export const planForFullTables = ['set local plan_cache_mode = force_generic_plan', 'set local enable_seqscan = off'];
