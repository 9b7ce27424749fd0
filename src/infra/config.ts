import { join } from 'node:path';
import { z } from 'zod';
import { type logLevels, Settings } from './settings.ts';

/** Where a store is: started by the hub below its data directory, or somebody else's. */
export type StoreLocation =
  | Readonly<{ kind: 'embedded'; dataDir: string }>
  | Readonly<{ kind: 'external'; url: string }>;

/** An event store of the hub's own gives back disk space by itself, so often; 0: never. */
export type EventStoreLocation =
  | Readonly<{ kind: 'embedded'; dataDir: string; scavengeEverySeconds: number }>
  | Extract<StoreLocation, { kind: 'external' }>;

/** All settings of the hub, in the pieces that its parts take. */
export type Config = Readonly<{
  dataDir: string;
  /** The storage node that the local repositories belong to. */
  nodeName: string;
  log: Readonly<{ level: (typeof logLevels)[number] }>;
  http: Readonly<{ host: string; port: number; corsOrigins: readonly string[] }>;
  auth: Readonly<{
    required: boolean;
    /** Undefined: generated on the first start. */
    adminPassword: string | undefined;
    sessionTtlSeconds: number;
    /** Bearer tokens that the operator hands out, as lower-case SHA-256 in hex. */
    apiTokenHashes: readonly string[];
    /** Login tokens of node appliances, by appliance id, as lower-case SHA-256 in hex. */
    applianceTokenHashes: ReadonlyMap<string, string>;
    /** Whether the contract's callbacks without a token are accepted from loopback. */
    machineCallbacks: boolean;
  }>;
  observability: Readonly<{
    /** Who may read the metrics: programs of this host without a token, only who has one, nobody. */
    metrics: 'loopback' | 'token' | 'off';
    /** Where spans go, by OTLP over HTTP; undefined: none are made. */
    otlpEndpoint: string | undefined;
  }>;
  eventStore: EventStoreLocation;
  database: StoreLocation;
  sna: Readonly<{ url: string }>;
  nbd: Readonly<{ bindHost: string; firstPort: number; lastPort: number }>;
  jobs: Readonly<{
    /** Silence after which a running job counts as stalled. */
    stallSeconds: number;
    /** Silence after which it is failed. */
    staleFailSeconds: number;
    /** Time within which a job must have sent its first telemetry. */
    startFailSeconds: number;
    /** How often silence is looked for. */
    staleCheckSeconds: number;
  }>;
  restore: Readonly<{
    /** Mounted disks of backups appear in it. */
    mountDir: string;
    driver: 'auto' | 'nbd' | 'fuse';
    /** A mount that nobody has read from for so long ends. */
    idleSeconds: number;
    /** How often such mounts are looked for. */
    sweepSeconds: number;
  }>;
  /** Where restored disks may be written to; nothing where nothing is named. */
  diskRestore: Readonly<{ roots: readonly string[]; nbdHosts: readonly string[] }>;
  eventExport: Readonly<{
    /** Name or id of the repository that the history is exported into; undefined: none. */
    repository: string | undefined;
    everySeconds: number;
  }>;
  vault: Readonly<{
    /** 32 bytes; undefined: kept in `keyFile`, made on the first start with mode 0600. */
    secretKey: Uint8Array | undefined;
    keyFile: string;
  }>;
}>;

/** What is wrong with the settings, one sentence each. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join('\n'), options);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

const fileName = 'sendense.config.json';
const loopbackHost = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/** One per setting and reason, also when several elements of a list are wrong. */
const sentences = (error: z.ZodError | undefined): readonly string[] => [
  ...new Set(error?.issues.map(({ path, message }) => `${String(path[0])} ${message}.`)),
];

const parseJson = (text: string): object => {
  try {
    return z.looseObject({}).parse(JSON.parse(text));
  } catch (cause) {
    throw new ConfigError([`${fileName} is not a JSON object.`], { cause });
  }
};

type FileSettings = Readonly<{ given: Readonly<Record<string, string>>; problems: readonly string[] }>;

/** The settings of a file are named as in the environment. */
const readFileSettings = (content: string): FileSettings => {
  const entries = Object.entries(parseJson(content));
  const isText = ([, value]: readonly [string, unknown]): boolean =>
    typeof value === 'string' || typeof value === 'number';
  const unknown = entries.filter(([name]) => !Object.hasOwn(Settings.shape, name));
  const mistyped = entries.filter((entry) => Object.hasOwn(Settings.shape, entry[0]) && !isText(entry));
  return {
    given: Object.fromEntries(entries.filter(isText).map(([name, value]) => [name, String(value)])),
    problems: [
      ...unknown.map(([name]) => `${fileName}: ${name} is no setting.`),
      ...mistyped.map(([name]) => `${fileName}: ${name} must be a text or a number.`),
    ],
  };
};

/** What each setting alone cannot tell. */
const contradictions = (settings: z.output<typeof Settings>): readonly string[] => [
  ...(!settings.SENDENSE_AUTH && !loopbackHost.test(settings.SENDENSE_HTTP.host)
    ? ['SENDENSE_AUTH must be on unless SENDENSE_HTTP is a loopback address.']
    : []),
  ...(!settings.SENDENSE_AUTH && !loopbackHost.test(settings.SENDENSE_NBD_BIND)
    ? ['SENDENSE_AUTH must be on unless SENDENSE_NBD_BIND is a loopback address.']
    : []),
  ...(settings.SENDENSE_STALE_FAIL_SECONDS < settings.SENDENSE_STALL_SECONDS
    ? ['SENDENSE_STALE_FAIL_SECONDS must not be less than SENDENSE_STALL_SECONDS.']
    : []),
];

const store = (url: string | undefined, dataDir: string): StoreLocation =>
  url === undefined ? { kind: 'embedded', dataDir } : { kind: 'external', url };

const eventStore = (settings: z.output<typeof Settings>, dataDir: string): EventStoreLocation => {
  const location = store(settings.SENDENSE_EVENTSTORE, dataDir);
  if (location.kind === 'external') return location;
  return { ...location, scavengeEverySeconds: settings.SENDENSE_EVENTSTORE_SCAVENGE_SECONDS };
};

const splitApplianceToken = (text: string): readonly [id: string, sha256: string] => {
  const [id = '', hash = ''] = text.split(':');
  return [id, hash.toLowerCase()];
};

const arrange = (settings: z.output<typeof Settings>): Config => {
  const dataDir = settings.SENDENSE_DATA_DIR;
  return {
    dataDir,
    nodeName: settings.SENDENSE_NODE_NAME,
    log: { level: settings.SENDENSE_LOG },
    http: { ...settings.SENDENSE_HTTP, corsOrigins: settings.SENDENSE_CORS },
    auth: {
      required: settings.SENDENSE_AUTH,
      adminPassword: settings.SENDENSE_ADMIN_PASSWORD,
      sessionTtlSeconds: settings.SENDENSE_SESSION_TTL_SECONDS,
      apiTokenHashes: settings.SENDENSE_API_TOKENS,
      applianceTokenHashes: new Map(settings.SENDENSE_APPLIANCE_TOKENS.map(splitApplianceToken)),
      machineCallbacks: settings.SENDENSE_MACHINE_CALLBACKS,
    },
    observability: { metrics: settings.SENDENSE_METRICS, otlpEndpoint: settings.OTEL_EXPORTER_OTLP_ENDPOINT },
    eventStore: eventStore(settings, join(dataDir, 'event-store')),
    database: store(settings.SENDENSE_DATABASE, join(dataDir, 'postgres')),
    sna: { url: settings.SENDENSE_SNA_URL },
    nbd: { bindHost: settings.SENDENSE_NBD_BIND, ...settings.SENDENSE_NBD_PORTS },
    jobs: {
      stallSeconds: settings.SENDENSE_STALL_SECONDS,
      staleFailSeconds: settings.SENDENSE_STALE_FAIL_SECONDS,
      startFailSeconds: settings.SENDENSE_START_FAIL_SECONDS,
      staleCheckSeconds: settings.SENDENSE_STALE_CHECK_SECONDS,
    },
    restore: {
      mountDir: settings.SENDENSE_RESTORE_DIR,
      driver: settings.SENDENSE_MOUNT_DRIVER,
      idleSeconds: settings.SENDENSE_MOUNT_IDLE_SECONDS,
      sweepSeconds: settings.SENDENSE_MOUNT_SWEEP_SECONDS,
    },
    diskRestore: { roots: settings.SENDENSE_RESTORE_ROOTS, nbdHosts: settings.SENDENSE_RESTORE_NBD },
    eventExport: {
      repository: settings.SENDENSE_EVENT_EXPORT_REPOSITORY,
      everySeconds: settings.SENDENSE_EVENT_EXPORT_SECONDS,
    },
    vault: { secretKey: settings.SENDENSE_SECRET_KEY, keyFile: join(dataDir, 'secret.key') },
  };
};

/**
 * Reads the settings from the environment and, where that says nothing, from the text of `sendense.config.json`.
 * An empty value counts as none. Throws one ConfigError with every problem; no problem repeats a value, which may be secret.
 */
export const readConfig = (env: Readonly<Record<string, string | undefined>>, fileContent?: string): Config => {
  const file = fileContent === undefined ? { given: {}, problems: [] } : readFileSettings(fileContent);
  const fromEnv = Object.entries(env).filter(([name, value]) => Object.hasOwn(Settings.shape, name) && value !== '');
  const { data, error } = Settings.safeParse({ ...file.given, ...Object.fromEntries(fromEnv) });
  const problems = [...file.problems, ...sentences(error), ...(data ? contradictions(data) : [])];
  if (!data || problems.length > 0) throw new ConfigError(problems);
  return arrange(data);
};
