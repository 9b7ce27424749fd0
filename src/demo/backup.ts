import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Api } from './api.ts';

export type BackupType = 'full' | 'incremental';

export type BackedUp = Readonly<{
  backupId: string;
  type: BackupType;
  /** From the request to the completed job, as its client sees it. */
  seconds: number;
  bytesTransferred: number;
  /** The image of each disk, in their order. */
  images: readonly string[];
  /** Ports that the job had. */
  ports: readonly number[];
}>;

export type DiskProgress = Readonly<{ index: number; percent: number; bytesTransferred: number; status: string }>;
export type BackupProgress = Readonly<{ phase: string; disks: readonly DiskProgress[] }>;

export type BackupRequest = Readonly<{ vmName: string; repositoryId: string; type: BackupType }>;

const pollMs = 100;

const Disk = z.object({
  disk_id: z.number(),
  qcow2_path: z.string(),
  nbd_port: z.number().nullable(),
  status: z.string(),
  bytes_transferred: z.number().default(0),
  progress_percent: z.number().default(0),
});

const Backup = z.object({
  backup_id: z.string(),
  backup_type: z.enum(['full', 'incremental']),
  status: z.string(),
  current_phase: z.string(),
  bytes_transferred: z.number(),
  error_message: z.string().nullable(),
  disk_results: z.array(Disk),
});

const progressOf = ({ current_phase, disk_results }: z.output<typeof Backup>): BackupProgress => ({
  phase: current_phase,
  disks: disk_results.map((disk) => ({
    index: disk.disk_id,
    percent: disk.status === 'completed' ? 100 : disk.progress_percent,
    bytesTransferred: disk.bytes_transferred,
    status: disk.status,
  })),
});

/** Starts a backup and follows it to its end. */
export const backUp = async (
  { api, signal }: Readonly<{ api: Api; signal: AbortSignal }>,
  { vmName, repositoryId, type }: BackupRequest,
  onProgress: (progress: BackupProgress) => void,
): Promise<BackedUp> => {
  const startedAtMs = performance.now();
  const body = { vm_name: vmName, repository_id: repositoryId, backup_type: type };
  const started = await api.post('/backups', body, Backup);
  for (;;) {
    const backup = await api.get(`/backups/${started.backup_id}`, Backup);
    onProgress(progressOf(backup));
    if (backup.status === 'completed') {
      const disks = backup.disk_results.toSorted((a, b) => a.disk_id - b.disk_id);
      return {
        ...{ backupId: backup.backup_id, type: backup.backup_type, bytesTransferred: backup.bytes_transferred },
        seconds: (performance.now() - startedAtMs) / 1000,
        images: disks.map(({ qcow2_path }) => qcow2_path),
        ports: started.disk_results.flatMap(({ nbd_port }) => nbd_port ?? []),
      };
    }
    if (backup.status === 'failed') throw new Error(`${backup.backup_id} failed: ${backup.error_message}`);
    await delay(pollMs, undefined, { signal });
  }
};
