import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { probeDiskIo } from '#infra/disk-io.ts';
import { checkTools, type ToolFinding } from '#infra/tool-check.ts';

let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tools-'));
});
after(() => rm(dir, { recursive: true, force: true }));

const by = (findings: readonly ToolFinding[], name: string): ToolFinding =>
  findings.find((finding) => finding.name === name) ?? assert.fail(`no finding for ${name}`);

/** What a host would tell whose only programs are these scripts. */
const findingsWith = async (scripts: Readonly<Record<string, string>>): Promise<readonly ToolFinding[]> => {
  const bin = await mkdtemp(join(dir, 'bin-'));
  for (const [name, body] of Object.entries(scripts)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${body}\n`);
    await chmod(join(bin, name), 0o755);
  }
  const module = JSON.stringify(fileURLToPath(import.meta.resolve('#infra/tool-check.ts')));
  const program = `import { checkTools } from ${module};
    process.stdout.write(JSON.stringify(await checkTools(process.argv[1])));`;
  const args = ['--input-type=module', '--eval', program, dir];
  const { stdout } = await execa(process.execPath, args, { env: { PATH: bin } });
  return JSON.parse(stdout);
};

describe('the check of the host', () => {
  test('finds the programs of the main job here, with their versions, and leaves no file', async () => {
    const work = join(dir, 'work');
    await mkdir(work);
    const findings = await checkTools(work);
    for (const name of [
      'qemu-img',
      'qemu-nbd',
      'nbdkit',
      'nbdcopy',
      'nbdinfo',
      'losetup',
      'sfdisk',
      'mkfs.ext4',
      'setpriv',
    ]) {
      const { state, found, consequence } = by(findings, name);
      assert.deepEqual([state, consequence], ['present', undefined], name);
      assert.match(found, /^\d+(\.\d+)+$/, name);
    }
    assert.equal(by(findings, 'nbdkit extentlist filter').state, 'present');
    assert.match(by(findings, 'disk I/O').found, new RegExp(`^${(await probeDiskIo(work)).aio}, `));
    assert.deepEqual(await readdir(work), []);
  });

  test('says of what is not there which package brings it and what its absence means', async () => {
    const findings = await findingsWith({});
    assert.deepEqual(by(findings, 'nbdcopy'), {
      name: 'nbdcopy',
      state: 'missing',
      found: 'not found (Debian package libnbd-bin)',
      purpose: 'copies disks',
      consequence: 'no backup can run',
    });
    assert.equal(by(findings, 'mkfs.ext4').state, 'limited');
    assert.equal(by(findings, 'nbdkit extentlist filter').consequence, 'no incremental backup can run');
  });

  test('takes a program that is there and does not run for absent', async () => {
    const findings = await findingsWith({ nbdkit: 'echo 1.32.5; exit 127', nbdcopy: 'echo nbdcopy 1.14.2' });
    assert.equal(by(findings, 'nbdkit').state, 'missing');
    assert.equal(by(findings, 'nbdcopy').found, '1.14.2');
  });

  // Stands for hosts where qemu was built with what the kernel or the filesystem then refuses.
  const refusing = (pattern: string) => `case "$*" in *${pattern}*) exit 1 ;; *) echo qemu-img version 7.2.0 ;; esac`;
  test('chooses native where io_uring is refused', async () => {
    const { state, found } = by(await findingsWith({ 'qemu-img': refusing('io_uring') }), 'disk I/O');
    assert.deepEqual([state, found], ['present', `native, O_DIRECT in ${dir}`]);
  });
  test('chooses threads where the filesystem refuses O_DIRECT, and says what that costs', async () => {
    const { state, found, consequence } = by(await findingsWith({ 'qemu-img': refusing('none') }), 'disk I/O');
    assert.deepEqual([state, found], ['limited', `threads, no O_DIRECT in ${dir}`]);
    assert.match(consequence ?? '', /two to three times as long/);
  });

  test('what it chooses works for an export of qemu-nbd', async () => {
    const { aio, direct } = await probeDiskIo(dir);
    const image = join(dir, 'disk.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M']);
    // nbdinfo starts the server in brackets, asks it and ends it.
    const server = ['qemu-nbd', `--aio=${aio}`, `--cache=${direct ? 'none' : 'writeback'}`, '--format=qcow2', image];
    const { stdout } = await execa('nbdinfo', ['--size', '--', '[', ...server, ']']);
    assert.equal(stdout, String(1024 ** 2));
  });
});
