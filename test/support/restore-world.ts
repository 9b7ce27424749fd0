import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { eventually } from './eventually.ts';
import type { Reply } from './hub-process.ts';
import { changeExtents } from './lab-vm.ts';
import type { WireBackup } from './wire.ts';
import { type Kept, mib, World } from './world.ts';

export type WireRestore = Readonly<{
  restore_id: string;
  status: string;
  phase: string;
  attempts: number;
  verified: boolean;
  failure_kind: string | null;
  error_message: string | null;
  progress_percent: number;
}>;

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });

/** A copy that can be held in its middle: 4 MiB/s as long as the brake is on. */
const slowProgram = (brake: string): string => {
  const slow = `if [ "$1" = convert ] && [ -e '${brake}' ]; then shift; exec /usr/bin/qemu-img convert -r 4194304 "$@"; fi`;
  return `#!/bin/sh\n${slow}\nexec /usr/bin/qemu-img "$@"\n`;
};

export const assertSameDisk = async (path: string, format: string, source = ''): Promise<void> => {
  const args = ['compare', '-f', format, '-F', source.endsWith('.qcow2') ? 'qcow2' : 'raw', path, source];
  const { exitCode, stdout, stderr } = await execa('qemu-img', args, { reject: false });
  assert.equal(exitCode, 0, `${stdout} ${stderr}`);
};

/** A hub with a chain of two backups, and a folder that restores may write to. */
export const openRestoreWorld = async () => {
  const root = await mkdtemp(join(tmpdir(), 'restored-'));
  const brake = join(root, '.brake');
  const nbdPort = await freePort();
  const programs = join(root, '.programs');
  await mkdir(programs);
  await writeFile(join(programs, 'qemu-img'), slowProgram(brake));
  await chmod(join(programs, 'qemu-img'), 0o755);
  const settings = {
    PATH: `${programs}:${process.env.PATH}`,
    SENDENSE_RESTORE_ROOTS: root,
    SENDENSE_RESTORE_NBD: `127.0.0.1:${nbdPort}`,
  };
  const world = await World.open({ settings }).catch(async (error: unknown) => {
    await rm(root, { recursive: true, force: true });
    throw error;
  });
  const full = await world.backUp('full');
  const atFull: Kept = await world.keep();
  for (const disk of world.vm.disks) await changeExtents(disk, { count: 6, sizeBytes: mib, zeroHalf: true });
  const increment = await world.backUp('incremental');
  const atIncrement: Kept = await world.keep();

  const letGo = () => rm(brake, { force: true });

  const ask = (backup: WireBackup, disk: number, target: object, more: object = {}): Promise<Reply<WireRestore>> =>
    world.call<WireRestore>('POST', '/restore/disk', {
      body: { backup_id: backup.backup_id, disk_index: disk, target, ...more },
    });

  const ended = (restoreId: string): Promise<WireRestore> =>
    eventually(
      `restore ${restoreId} ends`,
      async () => {
        const { body } = await world.call<WireRestore>('GET', `/restore/disk/${restoreId}`);
        return body.status === 'pending' || body.status === 'running' ? undefined : body;
      },
      60_000,
    );

  return {
    ...{ world, root, nbdPort, full, increment, atFull, atIncrement, letGo, ask, ended },

    image: (name: string, format: 'raw' | 'qcow2' = 'raw', more: object = {}) => ({
      ...{ type: 'image', path: join(root, name), format },
      ...more,
    }),

    restore: async (backup: WireBackup, disk: number, target: object, more: object = {}): Promise<WireRestore> => {
      const { status, body } = await ask(backup, disk, target, more);
      assert.equal(status, 202, JSON.stringify(body));
      return ended(body.restore_id);
    },

    /** Begun, and some of it is there; let go to let it go on. */
    inTheMiddle: async (target: Readonly<{ path: string }>): Promise<WireRestore> => {
      await writeFile(brake, '');
      const { status, body } = await ask(increment, 0, target);
      assert.equal(status, 202, JSON.stringify(body));
      const partial = join(target.path, '..', `.sendense-restore-${body.restore_id}.partial`);
      await eventually(
        'some of the copy is there',
        async () => ((await stat(partial).catch(() => undefined))?.blocks ?? 0) > 0,
      );
      return body;
    },

    assertNothingLeft: async (folder = root): Promise<void> => {
      assert.deepEqual(
        (await readdir(folder)).filter((name) => name.includes('partial')),
        [],
      );
      assert.deepEqual(await world.programs(), []);
      assert.deepEqual(await readdir(join(world.hubData, 'disk-copies')), []);
    },

    close: async (): Promise<void> => {
      await world.close();
      await rm(root, { recursive: true, force: true });
    },
  };
};

export type RestoreWorld = Awaited<ReturnType<typeof openRestoreWorld>>;
