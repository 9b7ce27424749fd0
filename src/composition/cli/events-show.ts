import { encodeLine } from '#infra/event-transfer/event-line.ts';
import { eventAt, followLog, readStored } from '#infra/event-transfer/log-reader.ts';
import { jsonContent, type StoredEvent } from '#infra/event-transfer/stored-event.ts';
import { withEventLog } from './event-log-access.ts';
import { parseCommand, positionOption, textOption } from './events-arguments.ts';
import { interruption, print, printable, tell } from './output.ts';
import { loadConfig, UsageError } from './usage.ts';

const contentOf = ({ contentType, data }: StoredEvent): string =>
  contentType === jsonContent ? Buffer.from(data).toString('utf8') : `(${data.length} bytes of ${contentType})`;

const lineOf = (event: StoredEvent): string => {
  const { created, position, stream, revision, type } = event;
  const time = `${created.slice(0, 19).replace('T', ' ')}Z`;
  return `${time}  ${position}  ${printable(`${stream}@${revision}  ${type}  ${contentOf(event)}`)}\n`;
};

const printEvent = (event: StoredEvent, json: boolean): Promise<void> =>
  print(json ? encodeLine(event) : lineOf(event));

export const runEventsTail = async (args: readonly string[]): Promise<number> => {
  const usage = './sendense events tail [--from POSITION] [--prefix STREAMS] [--json]';
  const options = { from: { type: 'string' }, prefix: { type: 'string' }, json: { type: 'boolean' } } as const;
  const parsed = parseCommand(args, options, usage);
  if (parsed.positionals.length > 0) throw new UsageError(`usage: ${usage}`);
  const from: bigint | 'end' = positionOption(parsed, 'from') ?? 'end';
  const prefix = textOption(parsed, 'prefix');
  const signal = interruption();
  await withEventLog(await loadConfig(), 'read', async ({ client }) => {
    const json = parsed.values.json === true;
    // A subscription leaves out the event that it begins at.
    const first = typeof from === 'bigint' && from > 0n ? await eventAt(client, from) : undefined;
    if (first?.stream.startsWith(prefix ?? '')) await printEvent(first, json);
    const wanted = { from, ...(prefix !== undefined && { prefix }) };
    for await (const event of followLog(client, wanted, signal)) await printEvent(event, json);
  });
  return 0;
};

export const runEventsShow = async (args: readonly string[]): Promise<number> => {
  const usage = './sendense events show STREAM [--json]';
  const parsed = parseCommand(args, { json: { type: 'boolean' } }, usage);
  const [stream, ...more] = parsed.positionals;
  if (stream === undefined || stream === '' || more.length > 0) throw new UsageError(`usage: ${usage}`);
  const shown = await withEventLog(await loadConfig(), 'read', async ({ client }) => {
    let count = 0;
    for await (const event of readStored(client, stream)) {
      await printEvent(event, parsed.values.json === true);
      count += 1;
    }
    return count;
  });
  if (shown > 0) return 0;
  tell(`There are no events to be read in a stream ${printable(stream)}.`);
  return 1;
};
