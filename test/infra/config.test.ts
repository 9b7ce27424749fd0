import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';
import { ConfigError, readConfig } from '#infra/config.ts';

const problemsOf = (env: Record<string, string>, file?: string): readonly string[] => {
  try {
    readConfig(env, file);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

describe('settings', () => {
  test('have defaults that are safe and need nothing else on the host', () => {
    const dataDir = resolve('data');
    assert.deepEqual(readConfig({}), {
      dataDir,
      nodeName: hostname(),
      log: { level: 'info' },
      http: { host: '127.0.0.1', port: 8082, corsOrigins: [] },
      auth: {
        required: true,
        adminPassword: undefined,
        sessionTtlSeconds: 86_400,
        apiTokenHashes: [],
        applianceTokenHashes: new Map(),
        machineCallbacks: true,
      },
      observability: { metrics: 'loopback', otlpEndpoint: undefined },
      eventStore: { kind: 'embedded', dataDir: `${dataDir}/event-store`, scavengeEverySeconds: 86_400 },
      database: { kind: 'embedded', dataDir: `${dataDir}/postgres` },
      sna: { url: 'http://127.0.0.1:9081' },
      nbd: { bindHost: '127.0.0.1', firstPort: 10_100, lastPort: 10_200 },
      jobs: { stallSeconds: 60, staleFailSeconds: 300, startFailSeconds: 300, staleCheckSeconds: 30 },
      diskRestore: { roots: [], nbdHosts: [] },
      restore: { mountDir: '/mnt/sendense/restore', driver: 'auto', idleSeconds: 3600, sweepSeconds: 300 },
      eventExport: { repository: undefined, everySeconds: 300 },
      vault: { secretKey: undefined, keyFile: `${dataDir}/secret.key` },
    });
  });

  test('without authentication are refused beyond loopback, for exports as for the API', () => {
    const problems = (env: Record<string, string>) => problemsOf({ SENDENSE_AUTH: 'off', ...env });
    assert.deepEqual(problems({}), []);
    assert.match(problems({ SENDENSE_NBD_BIND: '10.0.0.1' }).join(), /SENDENSE_NBD_BIND is a loopback address/);
    assert.match(problems({ SENDENSE_HTTP: '0.0.0.0:80' }).join(), /SENDENSE_HTTP is a loopback address/);
  });

  test('are read each from its variable', () => {
    const config = readConfig({
      SENDENSE_HTTP: '[::1]:0',
      SENDENSE_DATA_DIR: '/srv/sendense',
      SENDENSE_EVENTSTORE: 'esdb://a:2113,b:2113?tls=true',
      SENDENSE_DATABASE: 'postgres://hub:pw@db/sendense',
      SENDENSE_SNA_URL: 'https://sna.example:9081',
      SENDENSE_NBD_PORTS: '20000-20009',
      SENDENSE_NBD_BIND: '127.0.0.2',
      SENDENSE_NODE_NAME: 'store-1',
      SENDENSE_ADMIN_PASSWORD: 'correct horse',
      SENDENSE_LOG: 'debug',
      SENDENSE_AUTH: 'off',
      SENDENSE_METRICS: 'token',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
      SENDENSE_CORS: 'https://a.example, https://b.example:8443',
      SENDENSE_SESSION_TTL_SECONDS: '600',
      SENDENSE_API_TOKENS: `${'AB'.repeat(32)},${'01'.repeat(32)}`,
      SENDENSE_APPLIANCE_TOKENS: `sna-1:${'CD'.repeat(32)}`,
      SENDENSE_MACHINE_CALLBACKS: 'off',
      SENDENSE_STALL_SECONDS: '1',
      SENDENSE_STALE_FAIL_SECONDS: '2',
      SENDENSE_START_FAIL_SECONDS: '3',
      SENDENSE_STALE_CHECK_SECONDS: '4',
      SENDENSE_RESTORE_ROOTS: '/srv/restored, /mnt/disks',
      SENDENSE_RESTORE_NBD: '10.0.0.5:10809,[::1],kvm-1',
      SENDENSE_RESTORE_DIR: '/srv/mounts',
      SENDENSE_MOUNT_DRIVER: 'fuse',
      SENDENSE_MOUNT_IDLE_SECONDS: '600',
      SENDENSE_MOUNT_SWEEP_SECONDS: '30',
      SENDENSE_EVENT_EXPORT_REPOSITORY: 'primary',
      SENDENSE_EVENT_EXPORT_SECONDS: '60',
      SENDENSE_SECRET_KEY: Buffer.alloc(32, 7).toString('base64'),
    });
    assert.deepEqual(config, {
      dataDir: '/srv/sendense',
      nodeName: 'store-1',
      log: { level: 'debug' },
      http: { host: '::1', port: 0, corsOrigins: ['https://a.example', 'https://b.example:8443'] },
      auth: {
        required: false,
        adminPassword: 'correct horse',
        sessionTtlSeconds: 600,
        apiTokenHashes: ['ab'.repeat(32), '01'.repeat(32)],
        applianceTokenHashes: new Map([['sna-1', 'cd'.repeat(32)]]),
        machineCallbacks: false,
      },
      observability: { metrics: 'token', otlpEndpoint: 'http://collector:4318' },
      eventStore: { kind: 'external', url: 'esdb://a:2113,b:2113?tls=true' },
      database: { kind: 'external', url: 'postgres://hub:pw@db/sendense' },
      sna: { url: 'https://sna.example:9081' },
      nbd: { bindHost: '127.0.0.2', firstPort: 20_000, lastPort: 20_009 },
      jobs: { stallSeconds: 1, staleFailSeconds: 2, startFailSeconds: 3, staleCheckSeconds: 4 },
      diskRestore: { roots: ['/srv/restored', '/mnt/disks'], nbdHosts: ['10.0.0.5:10809', '[::1]', 'kvm-1'] },
      restore: { mountDir: '/srv/mounts', driver: 'fuse', idleSeconds: 600, sweepSeconds: 30 },
      eventExport: { repository: 'primary', everySeconds: 60 },
      vault: { secretKey: new Uint8Array(32).fill(7), keyFile: '/srv/sendense/secret.key' },
    });
  });

  test('tell how often the embedded event store scavenges by itself, 0 being never; a store elsewhere has its own ways', () => {
    const eventStore = (more: Record<string, string>) =>
      readConfig({ SENDENSE_DATA_DIR: '/srv/sendense', ...more }).eventStore;
    for (const [text, scavengeEverySeconds] of [['0', 0] as const, ['3600', 3600] as const]) {
      const location = eventStore({ SENDENSE_EVENTSTORE_SCAVENGE_SECONDS: text });
      assert.deepEqual(location, { kind: 'embedded', dataDir: '/srv/sendense/event-store', scavengeEverySeconds });
    }
    const elsewhere = { SENDENSE_EVENTSTORE: 'esdb://host:2113', SENDENSE_EVENTSTORE_SCAVENGE_SECONDS: '3600' };
    assert.deepEqual(eventStore(elsewhere), { kind: 'external', url: 'esdb://host:2113' });
  });

  test('come from the file where the environment says nothing, or nothing but an empty value', () => {
    const file = JSON.stringify({ SENDENSE_HTTP: '127.0.0.1:1', SENDENSE_LOG: 'warn', SENDENSE_STALL_SECONDS: 7 });
    const config = readConfig({ SENDENSE_HTTP: '127.0.0.1:2', SENDENSE_LOG: '' }, file);
    assert.deepEqual([config.http.port, config.log.level, config.jobs.stallSeconds], [2, 'warn', 7]);
  });
});

describe('wrong settings', () => {
  const wrong: readonly (readonly [name: string, value: string])[] = [
    ['SENDENSE_HTTP', '8082'],
    ['SENDENSE_HTTP', '127.0.0.1:65536'],
    ['SENDENSE_HTTP', '::1:80'],
    ['SENDENSE_EVENTSTORE', 'http://host'],
    ['SENDENSE_EVENTSTORE_SCAVENGE_SECONDS', '-1'],
    ['SENDENSE_EVENTSTORE_SCAVENGE_SECONDS', 'daily'],
    ['SENDENSE_METRICS', 'on'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
    ['SENDENSE_DATABASE', 'mysql://host/db'],
    ['SENDENSE_SNA_URL', '127.0.0.1:9081'],
    ['SENDENSE_NBD_PORTS', '10200-10100'],
    ['SENDENSE_NBD_PORTS', '0-10'],
    ['SENDENSE_NBD_PORTS', '65000-66000'],
    ['SENDENSE_NBD_BIND', 'localhost'],
    ['SENDENSE_NODE_NAME', 'a b'],
    ['SENDENSE_ADMIN_PASSWORD', 'short'],
    ['SENDENSE_LOG', 'loud'],
    ['SENDENSE_AUTH', 'yes'],
    ['SENDENSE_CORS', 'https://a.example/path'],
    ['SENDENSE_SESSION_TTL_SECONDS', '599'],
    ['SENDENSE_API_TOKENS', 'the token itself'],
    ['SENDENSE_MACHINE_CALLBACKS', '1'],
    ['SENDENSE_STALL_SECONDS', '0'],
    ['SENDENSE_STALE_CHECK_SECONDS', '1.5'],
    ['SENDENSE_SECRET_KEY', Buffer.alloc(31).toString('base64')],
    ['SENDENSE_SECRET_KEY', '!'.repeat(44)],
  ];
  for (const [name, value] of wrong) {
    test(`${name}=${value} is refused in one sentence that names it`, () => {
      const problems = problemsOf({ [name]: value });
      assert.equal(problems.length, 1);
      assert.match(problems[0] ?? '', new RegExp(`^${name} must .*\\.$`));
    });
  }

  test('are all told at once, each once, wherever they stand', () => {
    const env = { SENDENSE_LOG: 'loud', SENDENSE_API_TOKENS: 'a,b', SENDENSE_AUTH: 'maybe' };
    const file = JSON.stringify({ SENDENSE_HTTP: null, SENDENSE_HTPP: '127.0.0.1:1', SENDENSE_STALL_SECONDS: 0 });
    assert.deepEqual(
      problemsOf(env, file)
        .map((problem) => /SENDENSE_[A-Z_]+/.exec(problem)?.[0])
        .sort(),
      [
        'SENDENSE_API_TOKENS',
        'SENDENSE_AUTH',
        'SENDENSE_HTPP',
        'SENDENSE_HTTP',
        'SENDENSE_LOG',
        'SENDENSE_STALL_SECONDS',
      ],
    );
  });

  test('do not get their value, which may be secret, into the message', () => {
    const env = {
      SENDENSE_ADMIN_PASSWORD: 'hunter2',
      SENDENSE_SECRET_KEY: 'hunter2',
      SENDENSE_DATABASE: 'x:hunter2@y',
    };
    const problems = problemsOf(env);
    assert.equal(problems.length, 3);
    assert.ok(!problems.join().includes('hunter2'));
  });

  for (const content of ['{', '[]', '"x"', 'null']) {
    test(`a file with ${content} is refused by its name`, () =>
      assert.deepEqual(problemsOf({}, content), ['sendense.config.json is not a JSON object.']));
  }

  test('authentication cannot be off on an address that others reach', () => {
    for (const host of ['0.0.0.0', '[::]', '192.168.1.2', 'hub.example', '128.0.0.1', '127.0.0.1.example']) {
      assert.equal(problemsOf({ SENDENSE_HTTP: `${host}:8082`, SENDENSE_AUTH: 'off' }).length, 1, host);
    }
    for (const host of ['127.0.0.1', '127.8.9.10', '[::1]', 'localhost']) {
      assert.deepEqual(problemsOf({ SENDENSE_HTTP: `${host}:8082`, SENDENSE_AUTH: 'off' }), [], host);
    }
  });

  test('a job is not failed for silence before it counts as stalled', () =>
    assert.deepEqual(problemsOf({ SENDENSE_STALL_SECONDS: '301' }), [
      'SENDENSE_STALE_FAIL_SECONDS must not be less than SENDENSE_STALL_SECONDS.',
    ]));
});
