/**
 * Names of streams: `<concept>-<id>`, the concept in camelCase before the first dash, which makes it the category.
 * Ids keep to ASCII: the protocol carries stream names in header fields.
 */
const ascii = (id: string): string => encodeURIComponent(id);

export const streamOf = {
  backup: (backupId: string): string => `backup-${ascii(backupId)}`,
  /** Progress of one job, bounded by its metadata. */
  telemetry: (jobId: string): string => `telemetry-${ascii(jobId)}`,
  restorePoints: (vmContextId: string): string => `restorePoints-${ascii(vmContextId)}`,
  repository: (repositoryId: string): string => `repository-${ascii(repositoryId)}`,
  /** What was measured of a repository's storage, bounded by its metadata. */
  repositoryStorage: (repositoryId: string): string => `repositoryStorage-${ascii(repositoryId)}`,
  /** Directories that belong to a storage node's repositories. */
  repositoryRoots: (storageNode: string): string => `repositoryRoots-${ascii(storageNode)}`,
  vmContext: (vmContextId: string): string => `vmContext-${ascii(vmContextId)}`,
  vmwareCredential: (id: number): string => `vmwareCredential-${id}`,
  /** Which credential is the default; one stream, since there is at most one. */
  defaultCredential: (): string => 'defaultCredential-vmware',
  /** How often a credential was used; only the newest events are kept, each tells the total. */
  credentialUsage: (id: number): string => `credentialUsage-${id}`,
  nbdPorts: (storageNode: string): string => `nbdPorts-${ascii(storageNode)}`,
  restoreMount: (mountId: string): string => `restoreMount-${ascii(mountId)}`,
  /** A disk of a backup that is written back. */
  diskRestore: (restoreId: string): string => `diskRestore-${ascii(restoreId)}`,
  /** Who holds a storage node's mount slots. */
  mountSlots: (storageNode: string): string => `mountSlots-${ascii(storageNode)}`,
  nbdExport: (exportId: string): string => `nbdExport-${ascii(exportId)}`,
  session: (tokenSha256: string): string => `session-${tokenSha256}`,
  /** Claims on names that must be unique; `kind` tells of what. */
  claim: (kind: ClaimKind, name: string): string => `claim-${kind}-${ascii(name)}`,
  idempotencyKey: (keySha256: string): string => `idempotencyKey-${keySha256}`,
  /** Commands of one day, `yyyy-mm-dd` in UTC, accepted or refused. */
  audit: (day: string): string => `audit-${day}`,
  /** The days that the audit trail has, in order; one stream. */
  auditDays: (): string => 'auditDays-trail',
  /** What was decided about the streams that a projection has parked. */
  parkedStreams: (projection: string): string => `parkedStreams-${ascii(projection)}`,
} as const;

export type ClaimKind = 'repositoryName' | 'vmName' | 'vmIdentity' | 'credentialName' | 'credentialId' | 'repositoryId';

/** Prefix of all streams of a concept. */
export const prefixOf = (concept: keyof typeof streamOf): string => `${concept}-`;

/** The id that `streamOf` put into a stream's name. */
export const idFromStream = (stream: string): string => decodeURIComponent(stream.slice(stream.indexOf('-') + 1));
