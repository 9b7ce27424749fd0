import { parseArgs } from 'node:util';
import { ConfigError } from '#infra/config.ts';
import { DataDirLocked } from '#infra/data-dir-lock.ts';
import { createLogger } from '#infra/logger.ts';
import { TablesInUse } from '#projections/begin-anew.ts';
import { loadConfig, UsageError } from './composition/cli/usage.ts';

const usage = `usage: ./sendense COMMAND

  demo [--json] [--exit] [--size 2G]      back up a two-disk VM, change it, back it up again, prove every byte
  hub                                     the hub; settings: docs/settings.md
  node --source disk-image --root DIR [--http HOST:PORT] [--hub URL] [--data-dir DIR]
                                          a node appliance with VMs from a folder
  event-store [--host H] [--port N] [--data-dir DIR] [--tls-cert F --tls-key F --users F]
                                          the embedded event store alone; beyond loopback with TLS and users
  event-store passwd --users FILE [--user NAME] [--groups GROUP,GROUP]
                                          sets the password of one of its users
  events tail|show STREAM|export FILE|import FILE…|import --repository DIR|scavenge|verify
                                          the log: look at it, move it, bring a lost hub back
  projections status|rebuild [NAME]|check|parked|retry STREAM|skip STREAM --reason TEXT
                                          the read models
  audit verify|unexplained                proves that the audit trail is as it was written; finds events that
                                          neither it nor a cause accounts for
  test [NAME…]                            everything that CI runs, or the tests whose path has NAME in it
  bench [NAME] [--json]                   benchmarks
  doctor                                  what this host has and lacks
`;

const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

type Options = NonNullable<Parameters<typeof parseArgs>[0]>['options'];

/** Options that all take a text; anything else on the line is wrong usage. */
const parse = (args: readonly string[], options: Options): Readonly<Record<string, string | undefined>> => {
  try {
    const { values } = parseArgs({ args: [...args], options, allowPositionals: false, strict: true });
    return values as Readonly<Record<string, string | undefined>>;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
};

const hub = async (): Promise<number> => {
  const config = await loadConfig();
  const [{ startHub }, { stopSignal }] = await Promise.all([
    import('./main.ts'),
    import('./composition/stop-signal.ts'),
  ]);
  const log = createLogger({ level: config.log.level, name: 'hub' });
  const stopped = stopSignal();
  const announcePassword = (password: string): void =>
    say(
      `The administrator's password, shown only now: ${password}\nSign in as "admin". Set SENDENSE_ADMIN_PASSWORD to change it.`,
    );
  const running = await startHub({ config, log, announcePassword });
  process.stdout.write(`${running.url}\n`);
  log.info({ signal: await stopped }, 'stopping');
  await running.close();
  return 0;
};

const parseAddress = (text: string): Readonly<{ host: string; port: number }> => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (!host || port > 65_535) throw new UsageError(`--http must be HOST:PORT, not "${text}"`);
  return { host, port };
};

const node = async (args: readonly string[]): Promise<number> => {
  const values = parse(args, {
    source: { type: 'string' },
    root: { type: 'string' },
    http: { type: 'string', default: '127.0.0.1:8081' },
    hub: { type: 'string', default: 'http://127.0.0.1:8082' },
    'data-dir': { type: 'string', default: './node-data' },
  });
  if (values.source === 'vsphere')
    throw new UsageError('the source "vsphere" is not part of this version; use disk-image');
  if (values.source !== 'disk-image') throw new UsageError('--source must be disk-image');
  if (!values.root) throw new UsageError('--root must name the folder of the VMs');
  const [{ runNode }, { stopSignal }] = await Promise.all([
    import('#sna/main.ts'),
    import('./composition/stop-signal.ts'),
  ]);
  const stopped = stopSignal();
  const stop = new AbortController();
  const log = createLogger({ level: 'info', name: 'node' });
  const { SENDENSE_LAB_USERNAME: username, SENDENSE_LAB_PASSWORD: password } = process.env;
  const running = await runNode(
    {
      root: values.root,
      http: parseAddress(String(values.http)),
      hubUrl: String(values.hub),
      dataDir: String(values['data-dir']),
      log,
      ...(username && password ? { login: { username, password } } : {}),
    },
    stop.signal,
  );
  process.stdout.write(`${running.url}\n`);
  log.info({ signal: await stopped }, 'stopping');
  await running.close();
  return 0;
};

const doctor = async (): Promise<number> => {
  const { checkTools } = await import('#infra/tool-check.ts');
  const findings = await checkTools('.');
  for (const { name, state, found, purpose, consequence } of findings) {
    const mark = { present: '✔', limited: '!', missing: '✖' }[state];
    process.stdout.write(`${mark} ${name.padEnd(22)} ${found || state} — ${purpose}\n`);
    if (consequence) process.stdout.write(`  ${consequence}\n`);
  }
  return findings.some(({ state }) => state === 'missing') ? 1 : 0;
};

const commands: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  hub,
  node,
  'event-store': async (args) => (await import('./composition/cli/event-store.ts')).runEventStoreCommand(args),
  doctor,
  events: async (args) => (await import('./composition/cli/events.ts')).runEvents(args),
  projections: async (args) => (await import('./composition/cli/projections.ts')).runProjectionsCommand(args),
  audit: async (args) => (await import('./composition/cli/audit.ts')).runAudit(args),
  demo: async (args) => (await import('./demo/demo.ts')).runDemo(args),
  test: async (args) => (await import('../test/run.ts')).runTests(args),
  bench: async (args) => (await import('../test/benchmarks/run.ts')).runBenchmarks(args),
  help: async () => {
    process.stdout.write(usage);
    return 0;
  },
};

const main = async ([name = 'help', ...args]: readonly string[]): Promise<number> => {
  const command = commands[name === '--help' || name === '-h' ? 'help' : name];
  if (!command) throw new UsageError(`there is no command "${name}"\n\n${usage}`);
  return command(args);
};

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  // Whoever read the results has seen enough (`… | head`).
  if (error instanceof Error && 'code' in error && error.code === 'EPIPE') process.exit(0);
  const plain = [UsageError, ConfigError, DataDirLocked, TablesInUse].some((kind) => error instanceof kind);
  say(!(error instanceof Error) ? String(error) : plain ? error.message : (error.stack ?? error.message));
  process.exitCode = plain ? 2 : 1;
}
