import type { DatabaseSync } from 'node:sqlite';
import { isDamageReport } from './sqlite-errors.ts';

/**
 * What the file holds is not what was written to it. Whoever asked for the damaged part gets this in place of an answer,
 * never a wrong or shortened one; the rest is still served.
 */
export class StoreDamaged extends Error {
  override readonly name = 'StoreDamaged';
  /** The file's structure, not only the content of one entry: nothing may be written into it any more. */
  readonly structural: boolean;
  /** Without the advice. */
  readonly what: string;

  constructor(file: string, what: string, options: Readonly<{ structural: boolean; cause?: unknown }>) {
    super(
      `${file} is damaged: ${what}. What is intact is still readable: export it, check the disk, then import the export, ` +
        'or the last good one, into a new data directory.',
      { cause: options.cause },
    );
    this.structural = options.structural;
    this.what = what;
  }
}

/** Says where, in the words of whoever found it. */
export class DamageReporter {
  readonly #file: string;
  /** Of the structure; from then on nothing is appended. */
  #first: StoreDamaged | undefined;

  constructor(database: DatabaseSync) {
    this.#file = database.location() ?? 'the database';
  }

  content(what: string): StoreDamaged {
    return new StoreDamaged(this.#file, what, { structural: false });
  }

  structure(what: string, cause?: unknown): StoreDamaged {
    const damaged = new StoreDamaged(this.#file, what, { structural: true, cause });
    this.#first ??= damaged;
    return damaged;
  }

  throwIfStructural(): void {
    if (this.#first) throw this.#first;
  }

  /** Runs what only reads; whatever SQLite cannot make sense of is damage. */
  reading<T>(what: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw this.translated(error, what);
    }
  }

  translated(error: unknown, what: string): unknown {
    if (!isDamageReport(error)) return error;
    const said = error instanceof Error ? error.message : String(error);
    return this.structure(`${what} cannot be read (${said})`, error);
  }
}
