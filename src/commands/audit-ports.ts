import type { AuditEntry, AuditedAppend } from '#domain/audit/entry.ts';
import type { Appended } from './ports.ts';

/** Where every command leaves its mark, and whoever hands out data (a file that is downloaded) does as well. */
export interface AuditTrail {
  /**
   * Returns once the entry is on disk, or after a bounded time: the entry then waits in memory, the log and health say so.
   * Never throws: what keeps the trail from being written must not undo what was done.
   */
  record(entry: AuditEntry): Promise<void>;
}

/** As an entry keeps it. */
export const auditedAppend = ({ revision, position, ...rest }: Appended): AuditedAppend => ({
  ...rest,
  revision: `${revision}`,
  position: `${position}`,
});

/** A state of the trail that was written down elsewhere: whoever rewrites the log does not reach it. */
export type AuditAnchor = Readonly<{
  stream: string;
  revision: string;
  /** In the log that it was read from; another one after a move, so it is told and not compared. */
  position: string;
  /** Entries up to and with that batch, and the running hash then. */
  count: number;
  hash: string;
  at: string;
}>;

export type AnchorFile = Readonly<{
  /** What people find it by: a path. */
  place: string;
  anchors: readonly AuditAnchor[];
  /** Numbers of lines that are no anchors, from 1; a last line that was cut off by a crash is none of them. */
  unreadableLines: readonly number[];
}>;

/** Anchors below the root of a repository. Both throw when the repository cannot be reached, within seconds. */
export interface AnchorFiles {
  /** Returns once it is on the disk. */
  append(rootPath: string, anchor: AuditAnchor): Promise<void>;
  /** Empty for a repository that has none yet. */
  read(rootPath: string): Promise<AnchorFile>;
}
