import assert from 'node:assert/strict';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { pino } from 'pino';
import { locateBinaries } from '#infra/embedded-postgres/binaries.ts';
import { openCluster } from '#infra/embedded-postgres/cluster.ts';
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { takeIdentity } from '#infra/embedded-postgres/identity.ts';
import { serversOf } from '#infra/embedded-postgres/leftovers.ts';
import { launchPostmaster } from '#infra/embedded-postgres/postmaster.ts';
import { makeSocketDir } from '#infra/embedded-postgres/socket-dir.ts';
import { eventually, never, query, quiet, startHubProcess } from './support.ts';

const isRoot = process.getuid?.() === 0;
const alive = (pid: number): Promise<boolean> =>
  readFile(`/proc/${pid}/stat`, 'utf8').then(
    (text) => !/\) [ZX] /.test(text),
    () => false,
  );

/** `mkdtemp` makes it 0700: as root this is the folder which PostgreSQL's user cannot walk into. */
let root = '';
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'pg-'));
});
after(() => rm(root, { recursive: true, force: true }));

const start = (dataDir: string) => startEmbeddedPostgres({ dataDir, log: quiet }, never);

describe('embedded postgres, one after the other on the same files', () => {
  let dataDir = '';
  let cluster = '';
  before(() => {
    dataDir = join(root, 'shared');
    cluster = join(dataDir, 'cluster');
  });

  test('starts on an empty folder in which an earlier first start was cut off', async () => {
    await mkdir(join(dataDir, 'cluster.partial', 'base'), { recursive: true });
    await writeFile(join(dataDir, 'cluster.partial', 'PG_VERSION'), '18\n');
    const postgres = await start(dataDir);
    await query(postgres.connection, 'create table kept (id int)', 'insert into kept values (1)');
    await postgres.stop();
    assert.deepEqual((await readdir(dataDir)).sort(), ['cluster', 'password']);
  });

  test('keeps what was committed, and stops without leaving a process or a socket', async () => {
    const postgres = await start(dataDir);
    assert.deepEqual(await query(postgres.connection, 'select id from kept'), [{ id: 1 }]);
    await postgres.stop();
    await postgres.stop();
    assert.equal(postgres.pid(), undefined);
    assert.deepEqual(await serversOf(cluster), []);
    assert.deepEqual((await readdir(dataDir)).sort(), ['cluster', 'password']);
  });

  test('stops also while clients are connected', async () => {
    const postgres = await start(dataDir);
    const sleeping = assert.rejects(query(postgres.connection, 'select pg_sleep(60)'));
    await eventually('the query runs', async () => {
      const rows = await query(
        postgres.connection,
        `select 1 from pg_stat_activity where query like 'select pg_sleep%'`,
      );
      return rows.length === 1;
    });
    await postgres.stop();
    await sleeping;
    assert.deepEqual(await serversOf(cluster), []);
  });

  test('listens for its own user alone, on no network, with the password in one file only', async () => {
    const lines: string[] = [];
    const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
    const postgres = await startEmbeddedPostgres({ dataDir, log }, never);
    const { host, password } = postgres.connection;
    const commandLine = await readFile(`/proc/${postgres.pid()}/cmdline`, 'utf8');
    assert.deepEqual(await query(postgres.connection, 'show listen_addresses'), [{ listen_addresses: '' }]);
    assert.equal((await stat(host)).mode & 0o777, 0o700);
    assert.equal((await stat(join(dataDir, 'password'))).mode & 0o777, 0o600);
    assert.ok(password.length >= 32 && !commandLine.includes(password));
    await assert.rejects(query({ ...postgres.connection, password: 'wrong' }), /password authentication failed/);
    assert.ok(lines.length > 0 && !lines.some((line) => line.includes(password)));
    await postgres.stop();
  });

  test('started by root it runs as somebody else who can do nothing more than walk there', {
    skip: !isRoot,
  }, async () => {
    const postgres = await start(dataDir);
    const status = await readFile(`/proc/${postgres.pid()}/status`, 'utf8');
    const owner = await stat(cluster);
    const [, capabilities = ''] = /CapEff:\t([0-9a-f]+)/.exec(status) ?? [];
    // capabilities(7): 1 is CAP_DAC_OVERRIDE, 2 is CAP_DAC_READ_SEARCH.
    assert.ok([2n, 4n].includes(BigInt(`0x${capabilities}`)), capabilities);
    assert.notEqual(owner.uid, 0);
    assert.match(status, new RegExp(`Uid:(\t${owner.uid}){4}\n`));
    assert.match(status, /NoNewPrivs:\t1/);
    await postgres.stop();
  });

  test('ends with its hub, also when that is killed, and starts again after it', async () => {
    const hub = await startHubProcess(dataDir);
    await query(hub.connection, 'insert into kept values (2)');
    await hub.end('SIGKILL');
    await eventually('no server is left', async () => (await serversOf(cluster)).length === 0);
    const postgres = await start(dataDir);
    assert.deepEqual(await query(postgres.connection, 'select id from kept order by id'), [{ id: 1 }, { id: 2 }]);
    await postgres.stop();
  });

  test('is started again on the same socket after it was killed, and nothing committed is lost', async () => {
    const postgres = await start(dataDir);
    const killed = postgres.pid() ?? assert.fail('it runs');
    await query(postgres.connection, 'insert into kept values (3)');
    const busy = assert.rejects(query(postgres.connection, 'select pg_sleep(60)')); // a child that holds the old memory
    process.kill(killed, 'SIGKILL');
    await busy;
    await eventually('it answers again', async () => (await query(postgres.connection, 'select 1')).length === 1);
    assert.notEqual(postgres.pid(), killed);
    assert.deepEqual(await query(postgres.connection, 'select count(*)::int n from kept'), [{ n: 3 }]);
    await postgres.stop();
    assert.deepEqual(await serversOf(cluster), []);
  });

  test('ends a server that an earlier hub left running before it starts its own', async () => {
    const binaries = await locateBinaries();
    const identity = await takeIdentity(dataDir, binaries);
    const opened = await openCluster(dataDir, { binaries, identity }, never);
    const socketDir = await makeSocketDir(dataDir, identity.owner);
    const launch = { binaries, identity, cluster: opened, socketDir: socketDir.path, log: quiet };
    const leftover = await launchPostmaster(launch, never);
    const postgres = await start(dataDir);
    assert.equal(await alive(leftover.pid), false);
    assert.equal((await query(postgres.connection, 'select id from kept')).length, 3);
    await postgres.stop();
  });

  test('starts although the lock file of a killed server names a process of somebody else, and leaves that alone', async () => {
    const { uid, gid } = await stat(cluster);
    const stranger = execa('sleep', ['60'], { reject: false, ...(isRoot ? { uid, gid } : {}) });
    const lockFile = join(cluster, 'postmaster.pid');
    await writeFile(lockFile, `${stranger.pid}\n${cluster}\n1700000000\n5432\n/nowhere\n\n  1 1\nready   \n`, {
      mode: 0o600,
    });
    await chown(lockFile, uid, gid);
    const postgres = await start(dataDir);
    assert.equal((await query(postgres.connection, 'select id from kept')).length, 3);
    assert.ok(stranger.pid !== undefined && (await alive(stranger.pid)));
    await postgres.stop();
    stranger.kill('SIGKILL');
    await stranger;
  });

  test('a start that fails says what PostgreSQL said', async () => {
    const control = join(cluster, 'global', 'pg_control');
    const content = await readFile(control);
    await writeFile(control, Buffer.alloc(content.length, 7));
    await assert.rejects(start(dataDir), /PostgreSQL did not start \(exit code \d+\).*(control|incompatible)/);
    await writeFile(control, content);
    await (await start(dataDir)).stop();
  });

  test('an aborted start leaves nothing behind', async () => {
    await assert.rejects(startEmbeddedPostgres({ dataDir, log: quiet }, AbortSignal.abort()), { name: 'AbortError' });
    assert.deepEqual(await serversOf(cluster), []);
    assert.deepEqual((await readdir(dataDir)).sort(), ['cluster', 'password']);
  });
});

test('a path too long for a socket gets one with the temporary files, which the next start removes after a kill', async () => {
  const dataDir = join(root, 'x'.repeat(60), 'y'.repeat(60));
  const outside = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('sendense-pg-'));
  const others = await outside();
  const hub = await startHubProcess(dataDir);
  assert.ok(!hub.connection.host.startsWith(dataDir));
  await hub.end('SIGKILL');
  await eventually('no server is left', async () => (await serversOf(join(dataDir, 'cluster'))).length === 0);
  assert.equal((await outside()).length, others.length + 1);
  const postgres = await start(dataDir);
  assert.equal((await query(postgres.connection, 'select 1')).length, 1);
  await postgres.stop();
  assert.deepEqual(await outside(), others);
});

test('runs as an ordinary user', { skip: !isRoot && 'the tests above ran as one' }, async () => {
  const dataDir = join(root, 'ordinary');
  const nobody = 65_534;
  await mkdir(dataDir);
  await chown(dataDir, nobody, nobody);
  await chmod(root, 0o711);
  // The owner of the folder decides who runs it; the same way down is what an ordinary hub needs here.
  const { prefix } = await takeIdentity(dataDir, await locateBinaries());
  const hub = await startHubProcess(dataDir, prefix);
  assert.equal((await stat(`/proc/${hub.postgresPid}`)).uid, nobody);
  assert.equal((await query(hub.connection, 'select 1')).length, 1);
  await hub.end('SIGKILL');
  await eventually('no server is left', async () => (await serversOf(join(dataDir, 'cluster'))).length === 0);
  const again = await startHubProcess(dataDir, prefix);
  assert.equal((await query(again.connection, 'select 1')).length, 1);
  await again.end('SIGTERM');
  await eventually('no server is left', async () => (await serversOf(join(dataDir, 'cluster'))).length === 0);
});
