import { RevisionConflict, StoreUnavailable } from '#commands/ports.ts';
import { DomainError, type ErrorCode, type ErrorDetails } from '#domain/errors.ts';

export type ErrorStatus = 400 | 403 | 404 | 409 | 422 | 500 | 502 | 503 | 504;

/** The only place that knows both. A new code without a status does not compile. */
const STATUS: Readonly<Record<ErrorCode, ErrorStatus>> = {
  'invalid-request': 400,
  'idempotency-key-reused': 422,
  'name-taken': 409,
  'vm-not-found': 404,
  'vm-name-ambiguous': 409,
  'vm-without-disks': 404,
  'vm-without-credential': 400,
  'disk-without-size': 422,
  'policy-not-found': 404,
  'backup-not-found': 404,
  'backup-disk-not-found': 404,
  'backup-already-running': 409,
  'backup-running': 409,
  'backup-ended': 409,
  'no-previous-backup': 400,
  'change-id-not-found': 404,
  'change-id-conflict': 409,
  'backup-has-dependants': 409,
  'job-not-found': 404,
  'event-not-found': 404,
  'history-not-ready': 503,
  'file-not-found': 404,
  'file-unreadable': 422,
  'not-a-directory': 400,
  'not-a-file': 400,
  'path-outside-mount': 403,
  'nbd-ports-exhausted': 503,
  'nbd-port-not-allocated': 409,
  'nbd-port-in-use': 409,
  'nbd-lease-conflict': 409,
  'nbd-export-not-found': 404,
  'image-locked': 409,
  'image-not-found': 404,
  'image-outside-repositories': 400,
  'backup-not-restorable': 409,
  'backup-mounted': 409,
  'backup-being-read': 409,
  'disk-mounted': 409,
  'image-unreadable': 422,
  'mount-busy': 409,
  'mount-failed': 500,
  'mount-not-found': 404,
  'mount-not-ready': 409,
  'mount-slots-exhausted': 503,
  'mounts-unavailable': 503,
  'nothing-mountable': 422,
  'unmount-failed': 500,
  'repository-not-found': 404,
  'repository-disabled': 409,
  'repository-path-taken': 409,
  'repository-has-backups': 409,
  'repository-type-unsupported': 400,
  'repository-option-unsupported': 400,
  'repository-unusable': 422,
  'repository-unreachable': 503,
  'credential-not-found': 404,
  'credential-unusable': 422,
  'credential-in-use': 409,
  'credential-last-active': 409,
  'credential-inactive': 409,
  'secret-key-missing': 503,
  'source-refused': 422,
  'export-space-missing': 503,
  'exports-exhausted': 503,
  'disk-restore-not-found': 404,
  'disk-restore-ended': 409,
  'restore-target-exists': 409,
  'restore-target-busy': 409,
  'restore-target-refused': 422,
  'projection-not-found': 404,
  'stream-not-parked': 404,
  'rebuild-running': 409,
  'rebuild-not-running': 409,
  'node-unreachable': 503,
  'node-timeout': 504,
  'node-error': 502,
  'local-failure': 500,
  'store-unavailable': 503,
};

/** A status that one endpoint gives to a code, against the table. */
export type StatusOverrides = Readonly<Partial<Record<ErrorCode, ErrorStatus>>>;

export const statusOf = (code: ErrorCode, overrides: StatusOverrides = {}): ErrorStatus =>
  overrides[code] ?? STATUS[code];

/** What an error becomes on the wire, before it gets the shape of its group. */
export type Problem = Readonly<{
  status: number;
  /** Sent as a header too, so that programs need not compare texts. */
  code: string;
  message: string;
  details: string;
  extra: Readonly<Record<string, unknown>>;
  headers: Readonly<Record<string, string>>;
}>;

/** A refusal that only HTTP knows: no such route, no token, too large, too often. */
export class HttpProblem extends Error {
  readonly problem: Problem;

  constructor(facts: Pick<Problem, 'status' | 'code' | 'message'> & Partial<Problem>, options?: ErrorOptions) {
    super(facts.message, options);
    this.name = 'HttpProblem';
    this.problem = { details: '', extra: {}, headers: {}, ...facts };
  }
}

/** Never shows what an unknown error says: its text may hold paths, statements or secrets. The log has it. */
export const problemOf = (error: unknown, overrides: StatusOverrides = {}): Problem => {
  if (error instanceof HttpProblem) return error.problem;
  if (error instanceof DomainError) {
    const status = statusOf(error.code, overrides);
    return {
      status,
      code: error.code,
      message: error.message,
      details: describeFacts(error.details),
      extra: extraKeys(error.details),
      headers: status === 503 ? { 'retry-after': '5' } : {},
    };
  }
  if (error instanceof StoreUnavailable) return unavailable('The event store does not answer.');
  if (error instanceof RevisionConflict) return unavailable('Others changed the same record at the same time.');
  if (isMalformedPath(error)) return malformedPath;
  return { status: 500, code: 'internal-error', message: 'Internal error', details: '', extra: {}, headers: {} };
};

const unavailable = (reason: string): Problem => ({
  status: 503,
  code: 'store-unavailable',
  message: `${reason} Try again.`,
  details: '',
  extra: {},
  headers: { 'retry-after': '1' },
});

/** Express throws it for `%` escapes that decode to nothing, before any endpoint is reached. */
const isMalformedPath = (error: unknown): boolean =>
  error instanceof URIError || (error instanceof Error && 'status' in error && error.status === 400);

const malformedPath: Problem = {
  status: 400,
  code: 'invalid-request',
  message: 'Invalid request: the path is not properly percent-encoded',
  details: '',
  extra: {},
  headers: {},
};

/** Facts that the contract wants as keys of their own, beside being part of the text. */
const EXTRA_KEYS: Readonly<Record<string, string>> = {
  backupCount: 'backup_count',
  retentionExpiresAt: 'retention_expires_at',
};

const extraKeys = (facts: ErrorDetails): Problem['extra'] =>
  Object.fromEntries(
    Object.entries(facts).flatMap(([name, value]) => {
      const key = EXTRA_KEYS[name];
      return key === undefined ? [] : [[key, value]];
    }),
  );

/** One text stands for itself (an id, what a program printed); several facts are named: `asked: 2; free: 1`. */
const describeFacts = (facts: ErrorDetails): string => {
  const entries = Object.entries(facts);
  const [only] = entries;
  if (entries.length === 1 && only && typeof only[1] === 'string') return only[1];
  return entries.map(([name, value]) => `${inWords(name)}: ${asText(value)}`).join('; ');
};

const inWords = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

const asText = (value: ErrorDetails[string]): string => (typeof value === 'object' ? value.join(', ') : String(value));
