/**
 * Every refusal the domain knows, by the rule that was broken. HTTP gives each its status in one table; a code missing
 * there does not compile.
 */
export type ErrorCode =
  | 'invalid-request'
  | 'idempotency-key-reused'
  | 'name-taken'
  // backups
  | 'vm-not-found'
  | 'vm-name-ambiguous'
  | 'vm-without-disks'
  | 'vm-without-credential'
  | 'disk-without-size'
  | 'policy-not-found'
  | 'backup-not-found'
  | 'backup-disk-not-found'
  | 'backup-already-running'
  | 'backup-running'
  | 'backup-ended'
  | 'no-previous-backup'
  | 'change-id-not-found'
  | 'change-id-conflict'
  | 'backup-has-dependants'
  | 'job-not-found'
  // the past
  | 'event-not-found'
  | 'history-not-ready'
  // files of mounted backups
  | 'file-not-found'
  | 'file-unreadable'
  | 'not-a-directory'
  | 'not-a-file'
  | 'path-outside-mount'
  // NBD exports and ports
  | 'nbd-ports-exhausted'
  | 'nbd-port-not-allocated'
  | 'nbd-port-in-use'
  | 'nbd-lease-conflict'
  | 'nbd-export-not-found'
  | 'image-locked'
  | 'image-not-found'
  | 'image-outside-repositories'
  // mounts of backups
  | 'backup-not-restorable'
  | 'backup-mounted'
  | 'backup-being-read'
  | 'disk-mounted'
  | 'image-unreadable'
  | 'mount-busy'
  | 'mount-failed'
  | 'mount-not-found'
  | 'mount-not-ready'
  | 'mount-slots-exhausted'
  | 'mounts-unavailable'
  | 'nothing-mountable'
  | 'unmount-failed'
  // repositories
  | 'repository-not-found'
  | 'repository-disabled'
  | 'repository-path-taken'
  | 'repository-has-backups'
  | 'repository-type-unsupported'
  | 'repository-option-unsupported'
  | 'repository-unusable'
  | 'repository-unreachable'
  // VMs, credentials, discovery
  | 'credential-not-found'
  | 'credential-unusable'
  | 'credential-in-use'
  | 'credential-last-active'
  | 'credential-inactive'
  | 'secret-key-missing'
  | 'source-refused'
  // whole disks
  | 'export-space-missing'
  | 'exports-exhausted'
  | 'disk-restore-not-found'
  | 'disk-restore-ended'
  | 'restore-target-exists'
  | 'restore-target-busy'
  | 'restore-target-refused'
  // read models
  | 'projection-not-found'
  | 'stream-not-parked'
  | 'rebuild-running'
  | 'rebuild-not-running'
  // node appliance
  | 'node-unreachable'
  | 'node-timeout'
  | 'node-error'
  // this host
  | 'local-failure'
  | 'store-unavailable';

/** Facts that a person needs to act; never a secret. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** A refusal: what rule was broken (`code`), in one sentence that tells what to do (`message`), and the facts. */
export class DomainError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DomainError';
    this.code = code;
    this.details = details;
  }
}
