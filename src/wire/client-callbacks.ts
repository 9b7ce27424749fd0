import { z } from 'zod';

/** What a backup client tells and asks the hub while a backup runs. */

const bytes = z.number().int().nonnegative();

export const TelemetryDisk = z.object({
  disk_index: z.number().int().nonnegative(),
  bytes_transferred: bytes,
  total_bytes: bytes.optional(),
  progress_percent: z.number(),
  status: z.enum(['pending', 'transferring', 'running', 'completed', 'failed']),
  error_message: z.string().nullable().optional(),
});
export type TelemetryDisk = z.infer<typeof TelemetryDisk>;

export const TelemetryError = z.object({
  message: z.string(),
  code: z.string().optional(),
  timestamp: z.string().optional(),
});
export type TelemetryError = z.infer<typeof TelemetryError>;

/**
 * POST /api/v1/telemetry/{job_type}/{job_id}. Everything may be missing: old clients leave out what they do not know,
 * an empty `status` means running, and `eta_seconds` and `progress_percent` come out of range from them.
 */
export const TelemetryPost = z.object({
  job_id: z.string().optional(),
  job_type: z.string().optional(),
  status: z.enum(['running', 'completed', 'failed', 'stalled', '']).optional(),
  current_phase: z.string().optional(),
  bytes_transferred: bytes.optional(),
  total_bytes: bytes.optional(),
  transfer_speed_bps: bytes.optional(),
  eta_seconds: z.number().optional(),
  progress_percent: z.number().optional(),
  disks: z.array(TelemetryDisk).nullable().optional(),
  error: z.union([z.string(), TelemetryError]).nullable().optional(),
  timestamp: z.string().optional(),
});
export type TelemetryPost = z.infer<typeof TelemetryPost>;

/** POST /api/v1/backups/{backup_id}/complete, once per disk. `bytes_transferred` 0 means unknown. */
export const CompleteBody = z.object({
  change_id: z.string().min(1),
  disk_id: z.number().int().nonnegative().default(0),
  bytes_transferred: bytes.default(0),
});
export type CompleteBody = z.infer<typeof CompleteBody>;

export const CompleteReply = z.object({
  status: z.string(),
  backup_id: z.string(),
  change_id: z.string(),
  message: z.string(),
  timestamp: z.string(),
});
export type CompleteReply = z.infer<typeof CompleteReply>;

/** GET /api/v1/backups/changeid. Every value is a string: old clients decode into a string-to-string map. */
export const ChangeIdReply = z.object({
  vm_name: z.string(),
  disk_id: z.string(),
  change_id: z.string(),
  backup_id: z.string(),
  backup_type: z.string(),
  completed_at: z.string(),
  backup_job_id: z.string(),
  message: z.string(),
});
export type ChangeIdReply = z.infer<typeof ChangeIdReply>;
