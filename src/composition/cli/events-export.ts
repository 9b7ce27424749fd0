import { resolve } from 'node:path';
import { ExportRefused, exportEvents } from '#infra/event-transfer/export-events.ts';
import { clock } from '../services.ts';
import { withEventLog } from './event-log-access.ts';
import { parseCommand, positionOption } from './events-arguments.ts';
import { createProgressLine, interruption, print, tell } from './output.ts';
import { loadConfig, UsageError } from './usage.ts';

const usage = './sendense events export FILE [--from POSITION] [--json]';

export const runEventsExport = async (args: readonly string[]): Promise<number> => {
  const parsed = parseCommand(args, { from: { type: 'string' }, json: { type: 'boolean' } }, usage);
  const [file, ...more] = parsed.positionals;
  if (file === undefined || more.length > 0) throw new UsageError(`usage: ${usage}`);
  const from = positionOption(parsed, 'from');
  const path = resolve(file);
  const signal = interruption();
  const line = createProgressLine();
  try {
    const result = await withEventLog(await loadConfig(), 'read', ({ client, source }) =>
      exportEvents(
        {
          ...{ client, path, source, now: clock.now, ...(from !== undefined && { from }) },
          onProgress: ({ events, position, head }) =>
            line.show(`exporting: ${events} events, position ${position} of ${head}`),
        },
        signal,
      ),
    );
    line.end();
    const { events, sizeBytes, sha256, resumed, last } = result;
    const position = last ? String(last.position) : null;
    const summary = { file: path, events, size_bytes: sizeBytes, last_position: position, sha256, resumed };
    if (parsed.values.json === true) await print(`${JSON.stringify(summary)}\n`);
    else tell(`${events} events in ${path}, ${sizeBytes} bytes, up to position ${position ?? 'none'}.`);
    return 0;
  } catch (error) {
    line.end();
    if (signal.aborted) tell(`Broken off. The same command goes on where it stopped (${path}.partial).`);
    else if (error instanceof ExportRefused) tell(error.message);
    else throw error;
    return 1;
  }
};
