import type { ReadReq } from '@eventstore/db-client/generated/streams_pb.js';
import { invalidArgument } from './rpc-error.ts';

export type EventFilter = Readonly<{
  matches: (streamName: string, type: string) => boolean;
  /** A checkpoint is due after so many events were looked at, matching or not. */
  checkpointEvery: number;
}>;

const defaultWindow = 32;

/** Throws `RpcError`. */
export const createMatcher = (regex: string, prefixes: readonly string[]): ((text: string) => boolean) => {
  if (regex === '') {
    return (text) => prefixes.some((prefix) => text.startsWith(prefix));
  }
  try {
    const compiled = new RegExp(regex);
    return (text) => compiled.test(text);
  } catch (error) {
    throw invalidArgument(`The filter is no regular expression: ${error instanceof Error ? error.message : regex}`);
  }
};

/** Throws `RpcError`. */
export const readEventFilter = (options: ReadReq.Options.FilterOptions, subscription: boolean): EventFilter => {
  const byStream = options.getStreamIdentifier();
  const expression = byStream ?? options.getEventType();
  if (!expression) throw invalidArgument('The filter says neither stream names nor event types.');
  const multiplier = options.getCheckpointintervalmultiplier();
  if (subscription && multiplier === 0) throw invalidArgument('The checkpoint interval of a filter must not be 0.');
  const matchesText = createMatcher(expression.getRegex(), expression.getPrefixList());
  return {
    matches: byStream ? (streamName) => matchesText(streamName) : (_streamName, type) => matchesText(type),
    checkpointEvery: multiplier * (options.hasMax() ? options.getMax() : defaultWindow),
  };
};
