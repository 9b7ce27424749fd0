import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from 'kysely';
import type { Statement } from './projection.ts';
import type { ReadModel } from './read-model.ts';

const escaped = (text: string): string => {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  // The E form alone reads a backslash the same way whatever the server's settings are.
  return text.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
};

/**
 * A value as the driver would have sent it as a parameter: text without a type, so that the server infers the same types
 * from either form.
 */
export const literal = (value: unknown): string => {
  switch (typeof value) {
    case 'undefined':
      return 'null';
    case 'string':
      return escaped(value);
    case 'number':
    case 'bigint':
    case 'boolean':
      return `'${value}'`;
    default:
      if (value === null) return 'null';
      throw new TypeError('a projection writes texts, numbers, booleans and nulls; give JSON as text');
  }
};

/** A kysely without a connection: whoever has it cannot execute anything. */
const withoutConnection = (createQueryCompiler: () => PostgresQueryCompiler): Kysely<ReadModel> =>
  new Kysely<ReadModel>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler,
    },
  });

class LiteralCompiler extends PostgresQueryCompiler {
  protected override appendValue(value: unknown): void {
    this.append(literal(value));
  }
}

/** Values are written into the text, so that many statements go to the server in one message. */
export const compiling = withoutConnection(() => new LiteralCompiler());

/** Values stay beside the text, which is the same for every event of a kind. */
export const parameterized = withoutConnection(() => new PostgresQueryCompiler());

export const textOf = (statements: readonly Statement[]): readonly string[] =>
  statements.map((statement) => statement.compile().sql);
