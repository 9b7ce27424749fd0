import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { exportedKey } from '#infra/event-store/recorded.ts';
import { type ExportOptions, exportEvents } from '#infra/event-transfer/export-events.ts';
import { importEvents } from '#infra/event-transfer/import-events.ts';
import { readHistory } from '#infra/event-transfer/log-reader.ts';
import { LogWriter } from '#infra/event-transfer/log-writer.ts';
import { jsonContent, metadataType, type StoredEvent, tombstoneType } from '#infra/event-transfer/stored-event.ts';
import { tempDir } from '../embedded-event-store/support.ts';

const everything = 2n ** 62n;

export const historyOf = async (client: EventStoreDBClient): Promise<readonly StoredEvent[]> => {
  const events: StoredEvent[] = [];
  for await (const event of readHistory(client, { cursor: undefined, to: everything })) events.push(event);
  return events;
};

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

const withoutOriginal = (metadata: Uint8Array): string => {
  const pattern = new RegExp(`"\\${exportedKey}":\\{[^}]*\\},?`);
  return text(metadata)
    .replace(pattern, '')
    .replace(/^\{\}$/, '');
};

/** What must be the same after a move, as text that a failed comparison shows. */
export const comparable = (events: readonly StoredEvent[]): readonly string[] =>
  events.map(({ stream, revision, type, id, contentType, metadata, data }) => {
    // A server makes the tombstone itself, and the metadata that brings a deleted stream back.
    const name = type === tombstoneType || type === metadataType ? '' : id;
    const content = type === tombstoneType ? '' : `${contentType} ${withoutOriginal(metadata)} ${text(data)}`;
    return `${stream}@${revision} ${type} ${name} ${content}`;
  });

/** Appends bytes as they are, which the client's own way of writing would change. */
export const appendRaw = async (
  client: EventStoreDBClient,
  { stream, expected, id }: Readonly<{ stream: string; expected: bigint; id: string }>,
  event: Readonly<{ contentType?: string; data: Uint8Array; metadata?: Uint8Array }>,
): Promise<void> => {
  const writer = new LogWriter(client);
  const { contentType = jsonContent, data, metadata = new Uint8Array() } = event;
  await writer.append({ stream, expected, events: [{ id, type: 'Raw', contentType, data, metadata }] });
  await writer.close();
};

export const fill = async (
  client: EventStoreDBClient,
  { streams, each, bytes = 20 }: Readonly<{ streams: number; each: number; bytes?: number }>,
): Promise<void> => {
  const metadata = { by: 'test', v: 1 };
  await Promise.all(
    Array.from({ length: streams }, (_, stream) =>
      client.appendToStream(
        `filled-${stream}`,
        Array.from({ length: each }, (_, n) =>
          jsonEvent({ type: 'Happened', data: { n, text: 'x'.repeat(bytes) }, metadata }),
        ),
      ),
    ),
  );
};

export const now = (): string => new Date().toISOString();

export const exportTo = (
  client: EventStoreDBClient,
  path: string,
  more: Partial<ExportOptions> = {},
  signal?: AbortSignal,
) => exportEvents({ client, path, source: 'a test', now, ...more }, signal);

export const importFrom = (client: EventStoreDBClient, ...paths: readonly string[]) =>
  importEvents({ client, files: paths.map((path) => ({ path })) });

export const fileIn = async (t: TestContext, name = 'log.events.zst'): Promise<string> => join(await tempDir(t), name);
