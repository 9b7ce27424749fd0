import { UsageError } from './usage.ts';

const usage = `usage: ./sendense events COMMAND

  tail [--from POSITION] [--prefix STREAMS] [--json]   what is appended, until Ctrl-C; from the end on, or from a position
  show STREAM [--json]                                 the events of one stream
  export FILE [--from POSITION] [--json]               the history into a file; an export that was broken off goes on
  import FILE… [--json]                                the history from files into the event store of the settings
  import --repository DIR [--generation ID] [--key-file FILE | --without-secrets] [--json]
                                                       a lost hub from what it exported into its repository
  scavenge                                             gives back the disk space of truncated and deleted streams
  verify [--json]                                      reads and checks everything that the embedded store holds`;

type Command = (args: readonly string[]) => Promise<number>;

const commands: Readonly<Record<string, Command>> = {
  tail: async (args) => (await import('./events-show.ts')).runEventsTail(args),
  show: async (args) => (await import('./events-show.ts')).runEventsShow(args),
  export: async (args) => (await import('./events-export.ts')).runEventsExport(args),
  import: async (args) => (await import('./events-import.ts')).runEventsImport(args),
  verify: async (args) => (await import('./events-verify.ts')).runEventsVerify(args),
  scavenge: async (args) => (await import('./events-scavenge.ts')).runEventsScavenge(args),
};

/** `./sendense events …`; returns the exit code. */
export const runEvents = async ([name = '', ...args]: readonly string[]): Promise<number> => {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) throw new UsageError(name === '' ? usage : `there is no command "events ${name}"\n\n${usage}`);
  return command(args);
};
