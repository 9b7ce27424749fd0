import { randomUUID } from 'node:crypto';
import type { AuditTrail } from '#commands/audit-ports.ts';
import type { OpenMount } from '#commands/file-restore-ports.ts';
import type { AuditEntry } from '#domain/audit/entry.ts';
import { problemOf } from '../errors.ts';
import type { RequestFacts } from '../request.ts';

export type AccessAction =
  | 'ListFiles'
  | 'SearchFiles'
  | 'InspectFile'
  | 'DownloadFile'
  | 'DownloadDirectory'
  | 'ListFileVersions';

export type Access = Readonly<{
  request: RequestFacts;
  action: AccessAction;
  mountId: string;
  /** As it was asked for. */
  path: string;
}>;

type Facts = Readonly<Record<string, string | number>>;

/** The trail keeps so much of one fact. A path may be longer, and what it hides at its end is what somebody may want to hide. */
const factLength = 500;
const maxPathParts = 12;

const pathFacts = (path: string): Facts => {
  const parts = path.match(new RegExp(`.{1,${factLength}}`, 'gsu'))?.slice(0, maxPathParts) ?? [''];
  return Object.fromEntries(parts.map((part, index) => [index === 0 ? 'path' : `path_${index + 1}`, part]));
};

const mountFacts = ({ backupId, vmName, diskIndex }: OpenMount): Facts => ({
  ...{ backup_id: backupId, vm_name: vmName, disk_index: diskIndex },
});

type Outcome = Pick<AuditEntry, 'outcome' | 'status' | 'code' | 'reason'>;

const accepted = (status: number): Outcome => ({ outcome: 'accepted', status, code: null, reason: null });

const refused = (error: unknown): Outcome => {
  const { status, code, message } = problemOf(error);
  return { outcome: status < 500 ? 'refused' : 'failed', status, code, reason: message };
};

const brokenOff = (reason: string): Outcome => ({ outcome: 'failed', status: 200, code: 'broken-off', reason });

export type AccessAudit = Readonly<{
  accepted: (access: Access, mount: OpenMount, facts?: Facts & Readonly<{ status?: number }>) => Promise<void>;
  /** The same for what is no single mount's. */
  looked: (access: Access, facts: Facts) => Promise<void>;
  /** What was accepted at first has come to its end, or not. */
  ended: (
    access: Access,
    mount: OpenMount,
    end: Readonly<{ problem: string | undefined; facts: Facts }>,
  ) => Promise<void>;
  /** Runs the work; that it was refused is recorded before anybody is told. */
  watched: <T>(access: Access, work: () => Promise<T>) => Promise<T>;
}>;

/** Who reads what of a backup: each look at a folder and each download, with the user's name. */
export const createAccessAudit = (trail: AuditTrail): AccessAudit => {
  const record = ({ request, action, mountId, path }: Access, outcome: Outcome, facts: Facts): Promise<void> =>
    trail.record({
      ...{ id: randomUUID(), at: new Date().toISOString(), actor: request.actor },
      ...{ source: request.actor === 'operator:local' ? 'cli' : 'http', action },
      ...{
        objectType: action === 'ListFileVersions' ? 'vm' : 'restoreMount',
        objectId: mountId,
        ...outcome,
        dryRun: false,
      },
      ...{ address: request.address, requestId: request.requestId, correlationId: request.requestId },
      facts: Object.fromEntries(
        Object.entries({ ...pathFacts(path), ...facts }).map(([key, value]) => [key, `${value}`]),
      ),
      // Reading keeps a mount alive, and comparing versions makes some: both are events.
      ...{ appends: request.appended(), moreAppends: 0 },
    });
  return {
    accepted: (access, mount, { status = 200, ...facts } = {}) =>
      record(access, accepted(status), { ...mountFacts(mount), ...facts }),
    looked: (access, facts) => record(access, accepted(200), facts),
    ended: (access, mount, { problem, facts }) =>
      record(access, problem === undefined ? accepted(200) : brokenOff(problem), { ...mountFacts(mount), ...facts }),
    watched: async (access, work) => {
      try {
        return await work();
      } catch (error) {
        await record(access, refused(error), {});
        throw error;
      }
    },
  };
};
