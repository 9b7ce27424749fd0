import assert from 'node:assert/strict';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { execa } from 'execa';

const isRoot = process.getuid?.() === 0;
/** What the launcher itself calls, besides what it checks for. */
const shellTools = [
  'sh',
  'readlink',
  'dirname',
  'cat',
  'sha256sum',
  'flock',
  'id',
  'mktemp',
  'rm',
  'tail',
  'echo',
  'mkdir',
  'ln',
];
const cli = 'process.stdout.write(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd() }));';
/** Stands for `npm ci`: it writes down that it ran, and brings Node. */
const npm = `echo "$*" >> calls; mkdir -p node_modules/.bin; ln -sf ${process.execPath} node_modules/.bin/node`;

/** A copy of the repository as far as the launcher looks at it, and a folder of programs that are its whole PATH. */
describe('./sendense', () => {
  let base = '';
  let repository = '';
  let bin = '';

  const script = async (name: string, body: string): Promise<void> => {
    await writeFile(join(bin, name), `#!/bin/sh\n${body}\n`);
    await chmod(join(bin, name), 0o755);
  };

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'launcher-'));
    await chmod(base, 0o755);
    repository = join(base, 'repository');
    bin = join(base, 'bin');
    await mkdir(join(repository, 'src'), { recursive: true });
    await mkdir(bin);
    await copyFile(resolve(import.meta.dirname, '../sendense'), join(repository, 'sendense'));
    await writeFile(join(repository, 'src/cli.ts'), cli);
    await writeFile(join(repository, 'package-lock.json'), '{}');
    for (const name of shellTools) await symlink((await execa('which', [name])).stdout, join(bin, name));
    const blocks = ['qemu-img', 'qemu-nbd', 'qemu-storage-daemon', 'nbdkit', 'nbdcopy', 'nbdinfo'];
    for (const name of [...blocks, 'ntfs-3g', 'mcopy', 'lsblk', 'ip']) await script(name, '');
    for (const name of ['mkfs.ext4', 'losetup', 'sfdisk']) await script(name, '');
    await script('npm', npm);
  });
  afterEach(() => rm(base, { recursive: true, force: true }));

  const start = (args: readonly string[] = [], path = join(repository, 'sendense'), by: readonly string[] = []) => {
    const [file = '', ...rest] = [...by, path, ...args];
    return execa(file, rest, { cwd: base, env: { PATH: bin }, reject: false, timeout: 20_000 });
  };
  const calls = async (): Promise<readonly string[]> =>
    (await readFile(join(repository, 'calls'), 'utf8')).trim().split('\n');

  test('runs the command with its arguments as they are, from any folder and through a link', async () => {
    await symlink(join(repository, 'sendense'), join(base, 'link'));
    const { stdout } = await start(['demo', 'two words', '*'], join(base, 'link'));
    assert.deepEqual(JSON.parse(stdout), { args: ['demo', 'two words', '*'], cwd: base });
  });

  test('installs the libraries once, also when two start at once, and again when the lock file has changed', async () => {
    const first = await Promise.all([start(), start()]);
    assert.deepEqual(
      first.map(({ exitCode }) => exitCode),
      [0, 0],
    );
    assert.equal((await calls()).length, 1);
    assert.match((await calls())[0] ?? '', /^ci /);
    assert.equal((await start()).stderr, '');
    assert.equal((await calls()).length, 1);
    await writeFile(join(repository, 'package-lock.json'), '{"changed":true}');
    assert.match((await start()).stderr, /installing npm packages.*package-lock\.json has changed/);
    assert.equal((await calls()).length, 2);
  });

  test('shows what npm said when it failed, and tries again the next time', async () => {
    await script('npm', 'echo no space left; exit 1');
    const failed = await start();
    assert.equal(failed.exitCode, 1);
    assert.match(failed.stderr, /no space left\nsendense: npm ci failed$/);
    await script('npm', npm);
    assert.equal((await start()).exitCode, 0);
  });

  test('ends with the code of the command', async () => {
    await writeFile(join(repository, 'src/cli.ts'), 'process.exitCode = 7;');
    assert.equal((await start()).exitCode, 7);
  });

  test('started by root it installs the Debian packages that are missing, and looks for newer lists only if it must', {
    skip: !isRoot,
  }, async () => {
    await rm(join(bin, 'nbdcopy'));
    await rm(join(bin, 'nbdinfo'));
    // The first attempt fails as it does without lists; the second brings the programs.
    const install = `if [ -e ${base}/updated ]; then ln -s ${bin}/nbdkit ${bin}/nbdcopy; ln -s ${bin}/nbdkit ${bin}/nbdinfo; else exit 100; fi`;
    const update = `echo > ${base}/updated`;
    await script('apt-get', `echo "$*" >> ${base}/apt; case "$1" in update) ${update} ;; *) ${install} ;; esac`);
    const { exitCode, stderr } = await start();
    assert.equal(exitCode, 0, stderr);
    assert.match(stderr, /installing Debian packages: libnbd-bin \(copying disks\)\n/);
    const asked = (await readFile(join(base, 'apt'), 'utf8')).trim().split('\n');
    assert.deepEqual(
      asked.map((line) => `${line.split(' ')[0]} ${line.split(' ').at(-1)}`),
      ['install libnbd-bin', 'update -q', 'install libnbd-bin'],
    );
  });

  test('started by an ordinary user it prints the one line to run and installs nothing', async () => {
    await start();
    await rm(join(bin, 'nbdkit'));
    await rm(join(bin, 'nbdcopy'));
    await script('apt-get', `echo "$*" >> ${base}/apt`);
    const by = isRoot ? ['/usr/bin/setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
    const { exitCode, stderr } = await start(['hub'], undefined, by);
    assert.equal(exitCode, 1);
    assert.match(
      stderr,
      /^ {2}sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends nbdkit libnbd-bin'$/m,
    );
    assert.ok(!(await readdir(base)).includes('apt'));
    const node = join(repository, 'node_modules/.bin/node');
    await rm(node);
    await script('echo-arguments', 'echo "$*"');
    await symlink(join(bin, 'echo-arguments'), node);
    assert.match((await start(['doctor'], undefined, by)).stdout, / doctor$/);
  });
});
