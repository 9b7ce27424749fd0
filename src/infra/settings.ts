import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';

/** The log's levels, from the quietest. */
export const logLevels = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;

const highestPort = 65_535;

const seconds = (fallback: number, least: number) => {
  const expected = `must be a whole number of seconds from ${least}`;
  return z.coerce
    .number<string>(expected)
    .int(expected)
    .min(least, expected)
    .max(31_536_000, expected)
    .default(fallback);
};

const onOff = (fallback: 'on' | 'off') =>
  z
    .enum(['on', 'off'], 'must be on or off')
    .default(fallback)
    .transform((value) => value === 'on');

const urlWith = (schemes: readonly string[], example: string) =>
  z.string().refine((text) => schemes.includes(URL.parse(text)?.protocol ?? ''), `must be a URL such as ${example}`);

const list = <Item extends z.ZodType<string, string>>(item: Item) =>
  z
    .string()
    .default('')
    .transform((text) =>
      text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    )
    .pipe(z.array(item));

const listenAddress = z
  .string()
  .default('127.0.0.1:8082')
  .transform((text, context) => {
    const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
    const host = bracketed ?? plain;
    const port = Number(digits);
    if (host && port <= highestPort) return { host, port };
    context.addIssue('must be HOST:PORT such as 127.0.0.1:8082 (port 0 takes any free one)');
    return z.NEVER;
  });

const portRange = z
  .string()
  .default('10100-10200')
  .transform((text, context) => {
    const [, first, last] = /^(\d{1,5})-(\d{1,5})$/.exec(text)?.map(Number) ?? [];
    if (first && last && first <= last && last <= highestPort) return { firstPort: first, lastPort: last };
    context.addIssue('must be a range of ports such as 10100-10200');
    return z.NEVER;
  });

const secretKey = z
  .string()
  .optional()
  .transform((text, context) => {
    if (text === undefined) return undefined;
    const key = Buffer.from(text, 'base64');
    if (key.length === 32 && key.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, ''))
      return new Uint8Array(key);
    context.addIssue('must be 32 bytes in base64');
    return z.NEVER;
  });

const origin = z
  .string()
  .refine(
    (text) => text === '*' || (URL.canParse(text) && new URL(text).origin === text),
    'must be * or origins such as https://console.example, with commas between them',
  );
const sha256 = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, 'must be SHA-256 hashes in hex, with commas between them')
  .toLowerCase();

const applianceToken = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}:[0-9a-fA-F]{64}$/,
    'must be pairs of an appliance id and the SHA-256 hash of its token in hex, ID:HASH, with commas between them',
  );

const absoluteFolder = z
  .string()
  .refine(
    (path) => path.startsWith('/') && path !== '/' && resolve(path) === path,
    'must be absolute folders, other than /, with commas between them',
  );

const nbdHost = z
  .string()
  .regex(
    /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$/,
    'must be NBD servers such as 10.0.0.5 or 10.0.0.5:10809, with commas between them',
  );

/** Every setting by its name in the environment: how its text is read, and its default. */
export const Settings = z.object({
  SENDENSE_HTTP: listenAddress,
  SENDENSE_DATA_DIR: z
    .string()
    .default('./data')
    .transform((path) => resolve(path)),
  // No URL to the platform's parser: a cluster's has several hosts.
  SENDENSE_EVENTSTORE: z
    .string()
    .regex(/^esdb(\+discover)?:\/\/\S+$/, 'must be a connection string such as esdb://host:2113')
    .optional(),
  SENDENSE_EVENTSTORE_SCAVENGE_SECONDS: seconds(86_400, 0),
  SENDENSE_DATABASE: urlWith(['postgres:', 'postgresql:'], 'postgres://user:password@host:5432/sendense').optional(),
  SENDENSE_SNA_URL: urlWith(['http:', 'https:'], 'http://127.0.0.1:9081').default('http://127.0.0.1:9081'),
  SENDENSE_NBD_PORTS: portRange,
  SENDENSE_NBD_BIND: z.union([z.ipv4(), z.ipv6()], 'must be an IP address such as 127.0.0.1').default('127.0.0.1'),
  SENDENSE_ADMIN_PASSWORD: z.string().min(8, 'must have at least 8 characters').optional(),
  SENDENSE_LOG: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`).default('info'),
  SENDENSE_AUTH: onOff('on'),
  SENDENSE_METRICS: z.enum(['loopback', 'token', 'off'], 'must be loopback, token or off').default('loopback'),
  // OpenTelemetry's own name: its other variables (headers, sampler, service name) are read by its library.
  OTEL_EXPORTER_OTLP_ENDPOINT: urlWith(['http:', 'https:'], 'http://127.0.0.1:4318').optional(),
  SENDENSE_CORS: list(origin),
  SENDENSE_SESSION_TTL_SECONDS: seconds(86_400, 600),
  SENDENSE_API_TOKENS: list(sha256),
  SENDENSE_APPLIANCE_TOKENS: list(applianceToken),
  SENDENSE_MACHINE_CALLBACKS: onOff('on'),
  SENDENSE_STALL_SECONDS: seconds(60, 1),
  SENDENSE_STALE_FAIL_SECONDS: seconds(300, 1),
  SENDENSE_START_FAIL_SECONDS: seconds(300, 1),
  SENDENSE_STALE_CHECK_SECONDS: seconds(30, 1),
  SENDENSE_RESTORE_DIR: z
    .string()
    // Everything below it may be unmounted: never the root of the host, nor a folder of it.
    .regex(/^\/[^/]+\/[^/]+/, 'must be an absolute path of two names at least')
    .default('/mnt/sendense/restore')
    .transform((path) => resolve(path)),
  SENDENSE_MOUNT_DRIVER: z.enum(['auto', 'nbd', 'fuse'], 'must be auto, nbd or fuse').default('auto'),
  SENDENSE_MOUNT_IDLE_SECONDS: seconds(3600, 1),
  SENDENSE_MOUNT_SWEEP_SECONDS: seconds(300, 1),
  SENDENSE_RESTORE_ROOTS: list(absoluteFolder),
  SENDENSE_RESTORE_NBD: list(nbdHost),
  SENDENSE_EVENT_EXPORT_REPOSITORY: z
    .string()
    .trim()
    .min(1)
    .max(255, 'must be the name or id of a repository')
    .optional(),
  SENDENSE_EVENT_EXPORT_SECONDS: seconds(300, 1),
  SENDENSE_SECRET_KEY: secretKey,
  SENDENSE_NODE_NAME: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be a host name')
    .default(hostname()),
});
