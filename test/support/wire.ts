/** Replies of the API as the tests read them. */

export type WireDisk = Readonly<{
  disk_id: number;
  nbd_port: number | null;
  nbd_export_name: string;
  qcow2_path: string;
  qemu_nbd_pid: number | null;
  status: string;
  bytes_transferred: number;
  total_bytes: number;
  change_id: string | null;
}>;

export type WireBackup = Readonly<{
  backup_id: string;
  vm_context_id: string;
  vm_name: string;
  backup_type: 'full' | 'incremental';
  type: string;
  repository_id: string;
  status: 'started' | 'running' | 'stalled' | 'completed' | 'failed';
  bytes_transferred: number;
  total_bytes: number;
  disks_count: number;
  current_phase: string;
  progress_percent: number;
  started_at: string;
  completed_at: string | null;
  error_message: string | null;
  disk_results: readonly WireDisk[];
  nbd_targets_string?: string;
}>;

export type WireError = Readonly<{ error: string; details: string; timestamp: string }>;

export type WireJobEvent = Readonly<{ type: string; text: string; actor: string; time: string; position: string }>;
