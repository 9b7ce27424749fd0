import { z } from 'zod';

/**
 * The node appliance's HTTP API as hub and node both see it. Requests are read leniently (unknown keys are dropped),
 * replies as far as the hub uses them. Errors are `text/plain` with a status code and have no schema.
 */

const required = z.string().min(1);
const bytes = z.number().int().nonnegative();

/** POST /api/v1/backup/start */
export const BackupStartRequest = z
  .object({
    job_id: required.max(128),
    vm_name: required,
    vcenter_host: required,
    vcenter_user: required,
    vcenter_password: required,
    vm_path: required,
    /** `<disk key>:nbd://127.0.0.1:<port>/<export>`, joined by `,`, all disks of the VM. */
    nbd_targets: required,
    backup_type: z.enum(['full', 'incremental']),
    previous_change_id: z.string().optional(),
    nbd_host: z.string().optional(),
  })
  .refine(({ backup_type, previous_change_id }) => backup_type === 'full' || (previous_change_id ?? '') !== '', {
    path: ['previous_change_id'],
    message: 'is required for an incremental backup',
  });
export type BackupStartRequest = z.infer<typeof BackupStartRequest>;

export const BackupStartReply = z.object({
  job_id: required,
  status: z.string(),
  message: z.string(),
  started_at: z.string(),
  pid: z.number().int(),
});
export type BackupStartReply = z.infer<typeof BackupStartReply>;

/** POST /api/v1/backup/cancel: may be repeated; for a job that has ended it answers how it ended. */
export const CancelRequest = z.object({ job_id: required });
export type CancelRequest = z.infer<typeof CancelRequest>;

export const CancelReply = z.object({ job_id: required, status: z.string(), message: z.string() });
export type CancelReply = z.infer<typeof CancelReply>;

/** POST /api/v1/discover */
export const DiscoverRequest = z.object({
  vcenter: required,
  username: required,
  password: z.string(),
  datacenter: required,
  /** Comma-separated; each part matches any part of a VM's name, case aside. Empty or absent: all. */
  filter: z.string().optional(),
});
export type DiscoverRequest = z.infer<typeof DiscoverRequest>;

export const DiscoveredDisk = z.object({
  id: required,
  label: z.string(),
  path: z.string(),
  vmdk_path: z.string(),
  size_gb: z.number(),
  capacity_bytes: bytes,
  datastore: z.string(),
  provisioning_type: z.string(),
  unit_number: z.number().int(),
});
export type DiscoveredDisk = z.infer<typeof DiscoveredDisk>;

export const DiscoveredNetwork = z.object({
  label: z.string(),
  network_name: z.string(),
  adapter_type: z.string(),
  mac_address: z.string(),
  connected: z.boolean(),
  type: z.string(),
});
export type DiscoveredNetwork = z.infer<typeof DiscoveredNetwork>;

export const DiscoveredVm = z.object({
  id: required,
  name: required,
  path: required,
  datacenter: z.string(),
  power_state: z.string(),
  /** Reduced to `windows`, `linux` or `unknown`. */
  guest_os: z.string(),
  memory_mb: z.number(),
  num_cpu: z.number(),
  /** Arrives as 0 / '' from the original appliance: use `num_cpu` and `guest_os`. */
  cpus: z.number(),
  os_type: z.string(),
  vmx_version: z.string(),
  display_name: z.string(),
  annotation: z.string(),
  folder_path: z.string(),
  vmware_tools_status: z.string(),
  vmware_tools_version: z.string(),
  disks: z.array(DiscoveredDisk),
  networks: z.array(DiscoveredNetwork),
});
export type DiscoveredVm = z.infer<typeof DiscoveredVm>;

export const DiscoverReply = z.object({
  vcenter: z.object({ host: z.string(), datacenter: z.string() }),
  vms: z.array(DiscoveredVm),
});
export type DiscoverReply = z.infer<typeof DiscoverReply>;

const ProgressPhase = z.object({
  name: z.string(),
  status: z.string(),
  start_time: z.string(),
  end_time: z.string(),
  duration_ms: z.number(),
});

const DiskProgress = z.object({
  disk_id: z.string(),
  label: z.string(),
  bytes_transferred: bytes,
  total_bytes: bytes,
  percent: z.number(),
  throughput_mbps: z.number(),
  status: z.string(),
});

/** GET /api/v1/progress/{job_id}; `*_mbps` are MiB/s. */
export const ProgressReply = z.object({
  job_id: required,
  status: z.string(),
  sync_type: z.string(),
  phase: z.string(),
  percentage: z.number(),
  current_operation: z.string(),
  bytes_transferred: bytes,
  total_bytes: bytes,
  throughput: z.object({
    current_mbps: z.number(),
    average_mbps: z.number(),
    peak_mbps: z.number(),
    last_update: z.string(),
  }),
  timing: z.object({
    start_time: z.string(),
    last_update: z.string(),
    elapsed_ms: z.number(),
    phase_start: z.string(),
    phase_elapsed_ms: z.number(),
    eta_seconds: z.number(),
  }),
  vm_info: z.object({
    name: z.string(),
    path: z.string(),
    disk_size_gb: z.number(),
    disk_size_bytes: bytes,
    cbt_enabled: z.boolean(),
  }),
  phases: z.array(ProgressPhase),
  errors: z.array(z.string()),
  last_error: z.string().nullable(),
  disk_progresses: z.array(DiskProgress).optional(),
});
export type ProgressReply = z.infer<typeof ProgressReply>;

/** POST /api/v1/progress/{job_id}/update: for clients that run outside the node's own process. */
export const ProgressUpdate = z.object({
  stage: z.string(),
  status: z.string().optional(),
  bytes_transferred: bytes,
  total_bytes: bytes.optional(),
  throughput_bps: z.number().nonnegative(),
  percent: z.number().optional(),
  disk_id: z.string().optional(),
  sync_type: z.enum(['initial', 'full', 'incremental']).optional(),
  error_message: z.string().optional(),
});
export type ProgressUpdate = z.infer<typeof ProgressUpdate>;

/** GET /api/v1/status/{job_id} */
export const StatusReply = z.object({
  job_id: required,
  status: z.string(),
  progress_percent: z.number(),
  current_operation: z.string(),
  start_time: z.string(),
  last_update: z.string(),
  vm_path: z.string().optional(),
});
export type StatusReply = z.infer<typeof StatusReply>;

/** GET /api/v1/health. `change_tracking` tells how many disks' change maps are up to date: null for other sources. */
export const HealthReply = z.object({
  status: z.literal('healthy'),
  timestamp: z.string(),
  uptime: z.string(),
  change_tracking: z.object({ disks: z.number().int(), current: z.number().int() }).nullable().optional(),
});
export type HealthReply = z.infer<typeof HealthReply>;

/** POST /api/v1/cleanup */
export const CleanupRequest = z.object({ job_id: required, action: z.enum(['delete_snapshot', 'cleanup_all']) });
export type CleanupRequest = z.infer<typeof CleanupRequest>;

/** PUT /api/v1/config: accepted for old clients, without effect. */
export const ConfigRequest = z.object({
  nbd_port: z.union([z.number(), z.string()]).optional(),
  export_name: z.string().optional(),
  target_device: z.string().optional(),
});
export type ConfigRequest = z.infer<typeof ConfigRequest>;
