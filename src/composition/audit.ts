import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { createAuditLog } from '#commands/audit-log.ts';
import type { AuditTrail } from '#commands/audit-ports.ts';
import { type AuditStatus, createAuditTrail } from '#commands/audit-trail.ts';
import type { EventStore } from '#commands/ports.ts';
import {
  type AnchorSource,
  type AuditVerification,
  createVerifyAudit,
  type TrailWatch,
} from '#commands/verify-audit.ts';
import { createWriteAuditAnchors, repositoryRootsOf } from '#commands/write-audit-anchors.ts';
import type { Digest } from '#domain/audit/chain.ts';
import { anchorPathBelow, createAnchorFiles } from '#infra/audit-anchors.ts';
import { clock, ids } from './services.ts';

type Deps = Readonly<{
  store: EventStore;
  /** The host whose repositories hold the anchors. */
  storageNode: string;
  log: Pick<Logger, 'warn' | 'error'>;
  /** Told of each failure beside the log: of entries that are late or lost, of an anchor that is not written. */
  failed?: (kind: 'entry' | 'anchor') => void;
}>;

export type HubAudit = Readonly<{
  trail: AuditTrail;
  status: () => AuditStatus;
  /** Of the newest entry that was written here. */
  position: () => bigint | undefined;
  /** Writes where the trail stands into each repository. */
  writeAnchors: () => Promise<void>;
  /** `more`: anchors beside those in the repositories. */
  verify: (signal: AbortSignal, more?: readonly AnchorSource[], watch?: TrailWatch) => Promise<AuditVerification>;
  /** Writes what waits. */
  close: () => Promise<void>;
}>;

const digest: Digest = (text) => createHash('sha256').update(text).digest('hex');

/** gRPC's DATA_LOSS, by which the embedded store names a row that is not what its checksum says. */
const dataLoss = 15;
const isDamage = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === dataLoss;

/** The audit trail of a hub, or of a command line program that works on the stores itself. */
export const createHubAudit = ({ store, storageNode, log, failed }: Deps): HubAudit => {
  const auditLog = createAuditLog({ store, clock, ids, digest });
  const files = createAnchorFiles();
  const trail = createAuditTrail({
    log: auditLog,
    // The log is the last resort: an entry that cannot be kept is in it whole, and it holds no secret.
    onProblem: ({ what, error, entries }) => {
      failed?.('entry');
      log.warn({ err: error }, what);
      for (const entry of entries) log.error({ entry }, 'audit entry without a place');
    },
  });
  const verifyAudit = createVerifyAudit({ store, digest, isDamage });
  const onProblem = ({ rootPath, error }: Readonly<{ rootPath: string; error: unknown }>): void => {
    failed?.('anchor');
    log.warn({ err: error, rootPath }, 'no anchor of the audit trail is written to this repository');
  };
  return {
    trail,
    status: trail.status,
    position: auditLog.position,
    writeAnchors: createWriteAuditAnchors({ store, log: auditLog, files, storageNode, onProblem }),
    verify: async (signal, more = [], watch = undefined) => {
      const roots = await repositoryRootsOf(store, storageNode);
      const inRepositories = roots.map((root) => ({ place: anchorPathBelow(root), read: () => files.read(root) }));
      return verifyAudit([...inRepositories, ...more], signal, watch);
    },
    close: trail.close,
  };
};
