import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { verifyPassword } from '#http/password.ts';
import { connectEventStore } from '#infra/event-store/connect.ts';
import { startStore } from '../../infra/embedded-event-store/protocol/store-process.ts';
import { makeCertificates } from '../../support/tls-certificates.ts';

const cli = fileURLToPath(new URL('../../../src/cli.ts', import.meta.url));

const tempDir = async (t: TestContext): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), 'sendense-cli-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
};

const run = (args: readonly string[], input = '') =>
  execa(process.execPath, [cli, 'event-store', ...args], { input, reject: false, timeout: 60_000 });

test('passwd makes the users file that the store and its clients use', async (t) => {
  const dir = await tempDir(t);
  const users = join(dir, 'users');
  const { exitCode, stdout, stderr } = await run(['passwd', '--users', users], 'changeit\nno password\n');
  assert.equal(exitCode, 0, stderr);
  assert.ok(!`${stdout}${stderr}`.includes('changeit'));
  await run(['passwd', '--users', users, '--user', 'ada', '--groups', 'drivers,auditors'], 'something-long');
  const lines = (await readFile(users, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => line.split(':'));
  assert.deepEqual(
    lines.map(([name, , groups]) => [name, groups]),
    [
      ['admin', '$admins'],
      ['ada', 'drivers,auditors'],
    ],
  );
  assert.ok(await verifyPassword('changeit', lines[0]?.[1] ?? ''));
  assert.equal((await stat(users)).mode & 0o777, 0o600);
});

describe('wrong usage', { concurrency: true }, () => {
  for (const [what, args, input, sentence] of [
    ['a password that is too short', ['passwd', '--users', 'x'], 'short', /at least 8 characters/],
    ['no file for users', ['passwd'], '', /--users must name the file/],
    ['a certificate without its key', ['--tls-cert', 'x'], '', /--tls-cert and --tls-key go together/],
    ['a port that is none', ['--port', '70000'], '', /--port must be 0 to 65535/],
    ['a way of counting that is none', ['--append-size', 'some'], '', /--append-size must be/],
    ['an unknown option', ['--secure'], '', /Unknown option '--secure'/],
  ] as const) {
    test(`is ${what}`, async () => {
      const { exitCode, stderr } = await run(args, input);
      assert.equal(exitCode, 2);
      assert.match(stderr, sentence);
    });
  }
});

test('a store that cannot be secured does not start, and says why', async (t) => {
  const dir = await tempDir(t);
  const other = await mkdtemp(join(dir, 'other-'));
  const [{ certFile, keyFile }, { keyFile: otherKey }] = await Promise.all([
    makeCertificates(dir),
    makeCertificates(other),
  ]);
  const users = join(dir, 'users');
  await run(['passwd', '--users', users], 'changeit');
  const tls = ['--tls-cert', certFile, '--tls-key', keyFile];
  const attempts: readonly (readonly [readonly string[], RegExp])[] = [
    [['--host', '0.0.0.0'], /^The event store cannot listen on 0\.0\.0\.0: without TLS and users/],
    [['--host', '0.0.0.0', ...tls], /^The event store cannot listen on 0\.0\.0\.0: without TLS and users/],
    [['--users', users], /cannot have users without TLS/],
    [['--tls-cert', certFile, '--tls-key', otherKey, '--users', users], /does not belong to the certificate/],
    [
      ['--tls-cert', users, '--tls-key', keyFile, '--users', users],
      /^The TLS certificate .* cannot be used \(not PEM\)\.$/,
    ],
    [[...tls, '--users', join(dir, 'nobody')], /^The users file .* cannot be read \(ENOENT\)\.$/],
  ];
  const refused = attempts.map(async ([args, sentence], n) => {
    const { exitCode, stderr, stdout } = await run(['--port', '0', '--data-dir', join(dir, `data-${n}`), ...args]);
    assert.equal(exitCode, 1, stderr);
    assert.match(stderr, sentence);
    assert.equal(stdout, '');
  });
  await Promise.all(refused);
});

test('beyond loopback the store says where it is reached, with TLS and without credentials', async (t) => {
  const store = await startStore('secure', ['--host', '0.0.0.0']);
  t.after(() => store.stop());
  const client = connectEventStore(store.connectionString());
  t.after(() => client.dispose());
  const { metadata } = await client.getStreamMetadata('nothing');
  assert.equal(metadata, undefined);
  assert.match(store.announced, /^esdb:\/\/[^@:]+:\d+\?tls=true$/);
});
