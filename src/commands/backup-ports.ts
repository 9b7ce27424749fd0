/** What StartBackup must look up before it can decide. */
export interface BackupInventory {
  /** Ids of the managed VMs of that name, oldest first; a name exists once in each vCenter. */
  vmContextIdsNamed(vmName: string): Promise<readonly string[]>;
  /** The job that one disk's own id (`backup-<vm>-disk<i>-<time>`) belongs to. */
  jobOfDisk(diskBackupId: string): Promise<Readonly<{ backupId: string; diskIndex: number }> | undefined>;
  /** False for a credential that was deleted or is switched off. */
  credentialExists(credentialId: number): Promise<boolean>;
}

/** What the repository's files must allow before anything is started. */
export interface RepositoryAccess {
  imageExists(path: string): Promise<boolean>;
  /** Throws with a sentence when the folder is missing or cannot be written to. */
  assertWritable(rootPath: string): Promise<void>;
}
