import { parseArgs } from 'node:util';
import { UsageError } from './usage.ts';

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>;

export type Parsed = Readonly<{ values: Readonly<Record<string, unknown>>; positionals: readonly string[] }>;

/** Throws `UsageError` with what is wrong and how the command is called. */
export const parseCommand = (args: readonly string[], options: Options, usage: string): Parsed => {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n\nusage: ${usage}`);
  }
};

export const textOption = ({ values }: Parsed, name: string): string | undefined => {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
};

/** A position of the log: a whole number that may exceed 2^53. */
export const positionOption = (parsed: Parsed, name: string): bigint | undefined => {
  const text = textOption(parsed, name);
  if (text === undefined) return undefined;
  if (!/^\d{1,19}$/.test(text)) throw new UsageError(`--${name} takes a position of the log, a whole number`);
  return BigInt(text);
};
