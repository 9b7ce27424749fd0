import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { MountAccess, MountedPartition, OpenMount } from '#commands/file-restore-ports.ts';
import { DomainError } from '#domain/errors.ts';

export const temporaryFolder = async (t: TestContext, name = 'sendense-files-'): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), name));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

export const partitionAt = (rootPath: string, given: Partial<MountedPartition> = {}): MountedPartition => ({
  ...{ number: 1, sizeBytes: 1_610_612_736, filesystem: 'ext4', label: '', rootPath, ...given },
});

export const mountOfFolders = (given: Partial<OpenMount> & Pick<OpenMount, 'partitions'>): OpenMount => ({
  ...{ mountId: 'mount-1', backupId: 'backup-web-1', vmName: 'web', diskIndex: 0 },
  ...{ createdAt: '2026-01-02T03:04:05.000Z', partitioned: false, ...given },
});

/** Folders in the place of mounts. */
export const mountedFolders = (...mounts: readonly OpenMount[]) => {
  const holds = new Map<string, Set<AbortController>>();
  const access: MountAccess = {
    hold: async (mountId) => {
      const mount = mounts.find((candidate) => candidate.mountId === mountId);
      if (!mount) throw new DomainError('mount-not-found', `There is no mount ${mountId}.`);
      const controller = new AbortController();
      const held = holds.get(mountId) ?? new Set();
      holds.set(mountId, held.add(controller));
      return { mount, signal: controller.signal, release: () => void held.delete(controller) };
    },
  };
  return {
    access,
    /** How many read from it now. */
    held: (mountId = 'mount-1') => holds.get(mountId)?.size ?? 0,
    /** As an unmount does. */
    breakOff: (mountId = 'mount-1') => {
      for (const controller of holds.get(mountId) ?? [])
        controller.abort(new DomainError('mount-not-found', 'It is being unmounted.'));
    },
  };
};
