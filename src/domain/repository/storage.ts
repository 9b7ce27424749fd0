import type { Decider } from '../decider.ts';
import type { Versions } from '../event-versions.ts';

/** Space of the filesystem that holds a repository. */
export type StorageSpace = Readonly<{
  totalBytes: number;
  /** Total less what ordinary users may still take. */
  usedBytes: number;
  availableBytes: number;
}>;

export type StorageMeasured = StorageSpace & Readonly<{ repositoryId: string; at: string }>;

/** A stream of its own beside the repository's, bounded by its metadata: measurements would bury the audit trail. */
export type RepositoryStorageEvent = Readonly<{ type: 'RepositoryStorageMeasured'; data: StorageMeasured }>;

export type RecordMeasurement = Readonly<{ type: 'RecordMeasurement'; data: StorageMeasured }>;

export type RepositoryStorageState = Readonly<{ newest: StorageMeasured | null }>;

/** Measurements kept of one repository. */
export const keptMeasurements = 100;

export const repositoryStorageDecider: Decider<RepositoryStorageState, RecordMeasurement, RepositoryStorageEvent> = {
  initialState: { newest: null },
  decide: ({ data }) => [{ type: 'RepositoryStorageMeasured', data }],
  evolve: (_state, { data }) => ({ newest: data }),
  isWholeState: () => true,
};

export const repositoryStorageEventVersions: Versions<RepositoryStorageEvent> = { RepositoryStorageMeasured: 1 };

/** 0 to 100 with one decimal. */
export const usedPercentOf = ({ totalBytes, usedBytes }: StorageSpace): number =>
  totalBytes <= 0 ? 0 : Math.min(100, Math.max(0, Math.round((usedBytes / totalBytes) * 1_000) / 10));
