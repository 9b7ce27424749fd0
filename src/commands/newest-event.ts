import type { CommandContext, EventStore } from './ports.ts';

/** For what no event asked for (a start, a retry, a sweep): the newest event of the stream is what it follows from. */
export const newestEventOf = async (
  store: Pick<EventStore, 'readBackwards'>,
  stream: string,
): Promise<string | undefined> => {
  for await (const { id } of store.readBackwards(stream)) return id;
  return undefined;
};

/** The context of who follows from the newest event of a stream. */
export const afterNewest = async (
  store: Pick<EventStore, 'readBackwards'>,
  stream: string,
  context: CommandContext,
): Promise<CommandContext> => {
  const causationId = await newestEventOf(store, stream);
  return causationId === undefined ? context : { ...context, causationId };
};
