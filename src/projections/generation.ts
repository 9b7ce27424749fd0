import type { AnyProjection } from './projection.ts';

/**
 * The tables of one projection, in a PostgreSQL schema of their own. `schema` is also the key of its checkpoint. A live
 * generation is known by its projection's name and the statements that made it: a hub whose view looks different has
 * another one, and both are kept up beside each other.
 */
export type Generation = Readonly<{ projection: AnyProjection; schema: string }>;

/** What is not a generation: where each one is, and which streams it has parked. */
export const controlSchema = 'sendense_projections';

export const schemaPrefix = 'sendense_read_';

const besides = { next: '__next', check: '__check', old: '__old' } as const;
export type Beside = keyof typeof besides;

/** FNV-1a with 64 bits: tells shapes apart; nobody gains by making two of them meet. */
const fingerprint = (text: string): string => {
  let hash = 0xcbf29ce484222325n;
  for (const char of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(char)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, '0').slice(0, 10);
};

const maxSchemaLength = 63 - '__check'.length;

export const liveGeneration = (projection: AnyProjection): Generation => {
  const plain = projection.name.replaceAll(/[^a-z0-9]+/g, '_');
  const shape = JSON.stringify([projection.name, projection.tables]);
  const schema = `${schemaPrefix}${plain}_${fingerprint(shape)}`;
  if (schema.length > maxSchemaLength) throw new Error(`the projection's name "${projection.name}" is too long`);
  return { projection, schema };
};

export const liveGenerations = (projections: readonly AnyProjection[]): readonly Generation[] =>
  projections.map(liveGeneration);

/** A generation that is being built, thrown away after a comparison, or was replaced a moment ago. */
export const beside = ({ projection, schema }: Generation, what: Beside): Generation => ({
  projection,
  schema: `${schema}${besides[what]}`,
});

/** Undefined for a live one. */
export const whatBeside = (schema: string): Beside | undefined =>
  (Object.keys(besides) as Beside[]).find((what) => schema.endsWith(besides[what]));

/** Where a connection finds the tables of these generations by their plain names. */
export const searchPath = (schemas: readonly string[]): string => [...schemas, controlSchema].join(',');
