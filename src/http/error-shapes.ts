import { z } from 'zod';

/**
 * The bodies of errors. Three generations of clients read them, so each part of the API keeps its own:
 * `E1` backups, telemetry, NBD, login, and whatever belongs to no group; `E2` repositories; `group02` virtual machines,
 * discovery, credentials, restore, flows (some of its clients read `error`, others `message`).
 */
export type ErrorGroup = 'E1' | 'E2' | 'group02';

export type ErrorFacts = Readonly<{
  /** Short text for people. */
  message: string;
  /** Everything else worth knowing, as one text; never an object, clients print it. */
  details: string;
  /** Keys that the contract adds to the shape, such as `backup_count`. */
  extra: Readonly<Record<string, unknown>>;
  at: Date;
}>;

const error = z.string().meta({ description: 'What went wrong, for people' });
const details = z.string().meta({ description: 'Cause or facts; may be empty' });
const timestamp = z.iso.datetime();

export const errorSchemas: Readonly<Record<ErrorGroup, z.ZodType>> = {
  E1: z.looseObject({ error, details, timestamp }).meta({ id: 'Error' }),
  E2: z.looseObject({ success: z.literal(false), error }).meta({ id: 'RepositoryError' }),
  group02: z.looseObject({ error, message: error, details, timestamp }).meta({ id: 'ErrorWithMessage' }),
};

export const shapeError = (group: ErrorGroup, facts: ErrorFacts): object => {
  const { message, extra, at } = facts;
  switch (group) {
    case 'E1':
      return { error: message, details: facts.details, timestamp: withoutFraction(at), ...extra };
    case 'E2':
      return { success: false, error: message, ...extra };
    case 'group02':
      return { error: message, message, details: facts.details, timestamp: at.toISOString(), ...extra };
  }
};

/** RFC 3339 in whole seconds: some of the clients parse nothing else. */
const withoutFraction = (at: Date): string => at.toISOString().replace(/\.\d{3}Z$/, 'Z');
