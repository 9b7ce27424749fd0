import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EventStoreDBClient } from '@eventstore/db-client';
import { z } from 'zod';
import { hubData } from './appliances.ts';

export type EventCount = Readonly<{ total: number; jobStreams: number }>;

const Address = z.object({ connection: z.string() });

/** Counts the hub's events where they are kept; the store's own, about streams' bounds, do not count. */
export const countEvents = async (folder: string): Promise<EventCount> => {
  const path = join(folder, hubData, 'event-store', 'event-store.json');
  const { connection } = Address.parse(JSON.parse(await readFile(path, 'utf8')));
  const client = EventStoreDBClient.connectionString(connection);
  try {
    let total = 0;
    const jobs = new Set<string>();
    for await (const { event } of client.readAll()) {
      if (event === undefined || event.type.startsWith('$')) continue;
      total += 1;
      if (event.streamId.startsWith('backup-')) jobs.add(event.streamId);
    }
    return { total, jobStreams: jobs.size };
  } finally {
    await client.dispose();
  }
};
