import { createHash, timingSafeEqual } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { AppendSizeRule } from '#infra/embedded-event-store/grpc/proposed-event.ts';
import { isPasswordHash, UsersFileError } from '#infra/embedded-event-store/security/users-file.ts';
import { UsageError } from './usage.ts';

const usage = `usage: ./sendense event-store [OPTIONS]
       ./sendense event-store passwd --users FILE [--user NAME] [--groups GROUP,GROUP]

  --host HOST              where to listen (127.0.0.1); beyond loopback with --tls-cert, --tls-key and --users only
  --port N                 0 takes any free one (2113)
  --data-dir DIR           (./data/event-store)
  --tls-cert FILE          PEM: the certificate, and those that lead to its authority
  --tls-key FILE           PEM: its key
  --users FILE             who may sign in; passwd makes it
  --append-size RULE       what counts to the 1 MiB of an append: whole-event (default), or data-only as EventStoreDB
                           up to 23.10 counted

passwd sets the password of a user, which it reads from the terminal or from the first line of its input. The user is
"admin" if none is named; admin is in $admins and ops in $ops unless --groups says otherwise.
`;

type Values = Readonly<Record<string, string | undefined>>;
type Options = NonNullable<Parameters<typeof parseArgs>[0]>['options'];

const text = { type: 'string' } as const;

const parse = (args: readonly string[], options: Options): Values => {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false, strict: true }).values as Values;
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  }
};

const readPort = (value: string): number => {
  const port = Number(value);
  if (value === '' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new UsageError('--port must be 0 to 65535');
  }
  return port;
};

const readAppendSizeRule = (value: string): AppendSizeRule => {
  if (value === 'whole-event' || value === 'data-only') return value;
  throw new UsageError('--append-size must be whole-event or data-only');
};

const sha256 = (value: string): Buffer => createHash('sha256').update(value).digest();

const loadPasswords = async () => {
  const { verifyNothing, verifyPassword } = await import('#http/password.ts');
  return {
    verifyNothing,
    verify: async (password: string, stored: string): Promise<boolean> =>
      isPasswordHash(stored) ? verifyPassword(password, stored) : timingSafeEqual(sha256(password), sha256(stored)),
  };
};

const run = async (args: readonly string[]): Promise<number> => {
  const values = parse(args, {
    host: { ...text, default: '127.0.0.1' },
    port: { ...text, default: '2113' },
    'data-dir': { ...text, default: './data/event-store' },
    'tls-cert': text,
    'tls-key': text,
    users: text,
    'append-size': { ...text, default: 'whole-event' },
  });
  const { 'tls-cert': certFile, 'tls-key': keyFile, users: file } = values;
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new UsageError('--tls-cert and --tls-key go together');
  const port = readPort(String(values.port));
  const appendSizeRule = readAppendSizeRule(String(values['append-size']));
  const [{ runEventStore }, passwords] = await Promise.all([
    import('#infra/embedded-event-store/run.ts'),
    loadPasswords(),
  ]);
  return runEventStore({
    dataDir: String(values['data-dir']),
    host: String(values.host),
    port,
    limits: { appendSizeRule },
    ...(certFile !== undefined && keyFile !== undefined && { tls: { certFile, keyFile } }),
    ...(file !== undefined && { users: { file, passwords } }),
  });
};

const shortestPassword = 8;

const setPassword = async (args: readonly string[]): Promise<number> => {
  const values = parse(args, { users: text, user: { ...text, default: 'admin' }, groups: text });
  const { users: path, user: name = 'admin', groups } = values;
  if (!path) throw new UsageError('--users must name the file');
  const [{ readSecret }, { writeUser }, { hashPassword }] = await Promise.all([
    import('./secret-input.ts'),
    import('#infra/embedded-event-store/security/edit-users-file.ts'),
    import('#http/password.ts'),
  ]);
  const password = await readSecret(`Password of ${name}: `);
  if (password.length < shortestPassword) {
    throw new UsageError(`the password must have at least ${shortestPassword} characters`);
  }
  const passwordHash = await hashPassword(password);
  try {
    writeUser(path, { name, passwordHash, ...(groups !== undefined && { groups: groups.split(',') }) });
  } catch (error) {
    throw error instanceof UsersFileError ? new UsageError(error.message) : error;
  }
  process.stderr.write(`${path} has the password of ${name}.\n`);
  return 0;
};

/** The event store alone, and the passwords of its users. */
export const runEventStoreCommand = async (args: readonly string[]): Promise<number> => {
  const [first, ...rest] = args;
  if (first === '--help' || first === '-h' || first === 'help') {
    process.stdout.write(usage);
    return 0;
  }
  return first === 'passwd' ? setPassword(rest) : run(args);
};
