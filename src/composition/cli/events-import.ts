import { basename, resolve } from 'node:path';
import type { Config } from '#infra/config.ts';
import { RestoreRefused } from '#infra/event-export/restore-plan.ts';
import { EventFileDamaged } from '#infra/event-transfer/blocks.ts';
import { ImportRefused } from '#infra/event-transfer/file-set.ts';
import type { ImportOptions, ImportResult } from '#infra/event-transfer/import-events.ts';
import { importAudited } from './audited-import.ts';
import { withEventLog } from './event-log-access.ts';
import { type Parsed, parseCommand, textOption } from './events-arguments.ts';
import { createProgressLine, interruption, print, tell } from './output.ts';
import { restoreHub } from './restore-hub.ts';
import { loadConfig, UsageError } from './usage.ts';

const usage = `./sendense events import FILE… [--json]
       ./sendense events import --repository DIR [--generation ID] [--key-file FILE | --without-secrets] [--json]`;

const options = {
  repository: { type: 'string' },
  generation: { type: 'string' },
  'key-file': { type: 'string' },
  'without-secrets': { type: 'boolean' },
  json: { type: 'boolean' },
} as const;

type Progress = NonNullable<ImportOptions['onProgress']>;

const importFiles = (
  config: Config,
  files: readonly string[],
  onProgress: Progress,
  signal: AbortSignal,
): Promise<ImportResult> =>
  withEventLog(config, 'write', ({ client }) =>
    importAudited(
      {
        ...{ client, dataDir: config.dataDir, files: files.map((path) => ({ path })), onProgress },
        ...{ what: `of ${files.join(', ')}`, facts: { source: files.map((path) => basename(path)).join(', ') } },
      },
      signal,
    ),
  );

const runImport = (parsed: Parsed, config: Config, onProgress: Progress, signal: AbortSignal) => {
  const repository = textOption(parsed, 'repository');
  const files = parsed.positionals.map((file) => resolve(file));
  const onlyOfRepository = ['generation', 'key-file', 'without-secrets'].find((name) => parsed.values[name]);
  if ((repository === undefined) === (files.length === 0)) throw new UsageError(`usage: ${usage}`);
  if (repository === undefined && onlyOfRepository) {
    throw new UsageError(`--${onlyOfRepository} goes with --repository\n\nusage: ${usage}`);
  }
  if (repository === undefined) return importFiles(config, files, onProgress, signal);
  const restore = {
    ...{ root: resolve(repository), generation: textOption(parsed, 'generation') },
    ...{ keyFile: textOption(parsed, 'key-file'), withoutSecrets: parsed.values['without-secrets'] === true },
  };
  return restoreHub(config, restore, onProgress, signal);
};

const report = async (parsed: Parsed, result: Awaited<ReturnType<typeof runImport>>): Promise<void> => {
  const { events, written, present, gaps, ...restored } = result;
  const summary = { events, written, present, gaps, ...restored };
  if (parsed.values.json === true) return print(`${JSON.stringify(summary)}\n`);
  tell(`${events} events: ${written} written, ${present} were there already.`);
  if (gaps > 0) tell(`${gaps} events no longer existed when they were exported; markers hold their places.`);
  if ('secrets' in result) tell(`${result.secrets} stored passwords of logins are back. Start the hub.`);
  else tell('Start the hub: tables of another event store are noticed, and built anew before it is ready.');
};

const isForOperator = (error: unknown): error is Error =>
  error instanceof EventFileDamaged || error instanceof ImportRefused || error instanceof RestoreRefused;

export const runEventsImport = async (args: readonly string[]): Promise<number> => {
  const parsed = parseCommand(args, options, usage);
  const config = await loadConfig();
  const signal = interruption();
  const line = createProgressLine();
  const onProgress: Progress = ({ phase, events, total }) =>
    line.show(`${phase}: ${events}${total === undefined ? '' : ` of ${total}`} events`);
  try {
    const result = await runImport(parsed, config, onProgress, signal);
    line.end();
    await report(parsed, result);
    return 0;
  } catch (error) {
    line.end();
    if (signal.aborted) tell('Broken off. The same command goes on where it stopped.');
    else if (isForOperator(error)) tell(error.message);
    else throw error;
    return 1;
  }
};
