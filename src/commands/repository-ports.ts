import type { StorageSpace } from '#domain/repository/storage.ts';

export type StorageFacts = StorageSpace & Readonly<{ writable: boolean }>;

/**
 * The filesystem below a repository. Both calls throw an Error whose message is a sentence for people. They may take as
 * long as the filesystem does: the caller bounds them.
 */
export interface RepositoryProbe {
  /** Makes the directory when it is missing, writes and removes a file in it, and measures. */
  test(path: string, signal: AbortSignal): Promise<StorageFacts>;
  /** Changes nothing; throws when the directory is not there. */
  measure(path: string, signal: AbortSignal): Promise<StorageFacts>;
  /** With all symbolic links resolved; throws when there is nothing at that path. */
  realPath(path: string): Promise<string>;
}

/** What a removal and a measurement need to know of all repositories; from the read model. */
export interface RepositoryDirectory {
  list(): Promise<readonly Readonly<{ repositoryId: string; name: string; path: string }>[]>;
  /** Backups recorded there, running ones included, failed ones left out. */
  countBackups(repositoryId: string): Promise<number>;
  /** Ids of repositories whose removal has begun and was not settled. */
  removing(): Promise<readonly string[]>;
  /** Waits, bounded, until the directory knows everything that the log holds now; false when it does not get there. */
  caughtUp(): Promise<boolean>;
}
