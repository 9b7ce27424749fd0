/** Retrying will not help: the reason is final and becomes the job's failure. */
export class PermanentFailure extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PermanentFailure';
  }
}

/** Another program listens on the port that the pool gave us; the caller takes another one. */
export class PortTaken extends Error {
  readonly port: number;
  constructor(port: number, options?: ErrorOptions) {
    super(`port ${port} is in use by another program`, options);
    this.name = 'PortTaken';
    this.port = port;
  }
}

export type ImageFacts = Readonly<{
  virtualSizeBytes: number;
  /** What the file occupies on disk. */
  actualSizeBytes: number;
  clusterSizeBytes: number;
  /** As written in the image: a file name in the same folder. */
  backingFile: string | null;
  format: string;
  dirty: boolean;
}>;

/**
 * qcow2 files of backups. Every call may be repeated: a crash between effect and record is normal.
 * Throws `PermanentFailure` with qemu-img's own words (no space, missing base, …).
 */
export interface DiskImages {
  /**
   * Makes an empty image: a base (no `basePath`) or an overlay whose parent lies in the same folder and is named
   * relatively, so that a copied chain opens anywhere. Appears complete or not at all; an image that is there already stays.
   */
  create(
    request: Readonly<{ imagePath: string; virtualSizeBytes: number; basePath?: string }>,
    signal: AbortSignal,
  ): Promise<void>;
  /** Reads the header beside a writer. Throws `PermanentFailure` when the file is missing or not a qcow2. */
  inspect(imagePath: string, signal: AbortSignal): Promise<ImageFacts>;
  exists(imagePath: string): Promise<boolean>;
  /** Read-only from now on (0444) and flushed to the disk, folder entry included. */
  seal(imagePath: string, signal: AbortSignal): Promise<void>;
  /** Removes image, side file and partial files; empty folders up to (not including) `rootPath` go as well. */
  delete(imagePath: string, rootPath: string): Promise<void>;
}

export type DiskExport = Readonly<{
  /** Made from ids, `<backup id>-disk<n>`: the same before and after a crash. */
  exportId: string;
  exportName: string;
  pid: number;
  port: number;
  imagePath: string;
  readOnly: boolean;
  sharedConnections: number;
  /** When the process was started, ISO 8601 UTC. */
  startedAt: string;
}>;

export type StartExport = Omit<DiskExport, 'pid' | 'startedAt'>;

/**
 * How an export ended. Only `clean` makes an image trustworthy: everything that was written is in the file
 * (the process ended by itself after SIGTERM with code 0, or acknowledged a flush after the last write).
 */
export type StoppedExport = Readonly<{ outcome: 'clean' | 'unclean' | 'not-running'; detail: string }>;

/** Serves disk images over NBD, one process each. Every call may be repeated. */
export interface DiskExporter {
  /**
   * Returns the running export of that id if there is one (also one that an earlier hub started), else starts it and waits
   * until it listens. Throws `PortTaken`, or `PermanentFailure` with the program's own words (image locked, missing, …).
   */
  start(request: StartExport, signal: AbortSignal): Promise<DiskExport>;
  /** Ends it in order: flush, SIGTERM, exit; SIGKILL after 5 s. Content with nothing. */
  stop(exportId: string, signal: AbortSignal): Promise<StoppedExport>;
  /** All exports that run, whoever started them, as long as they carry an id of ours. */
  list(): Promise<readonly DiskExport[]>;
  /** Established client connections of a port. */
  countConnections(port: number): Promise<number>;
  /** Calls back once for every export that ends without `stop`; returns how to unsubscribe. */
  onUnexpectedExit(listener: (ended: DiskExport & Readonly<{ detail: string }>) => void): () => void;
}

/** Tells whether a TCP port of the export address is free right now; a hint, the start itself decides. */
export interface PortProbe {
  isFree(port: number): Promise<boolean>;
}

/** Files beside the images, for people and tools that find a repository without its hub. */
export interface SideFiles {
  /** Writes `<path>` as JSON, appearing complete or not at all. */
  write(path: string, content: object): Promise<void>;
}

export type TransferRequest = Readonly<{
  jobId: string;
  vmName: string;
  vmPath: string;
  vcenterHost: string;
  username: string;
  password: string;
  /** `<key>:nbd://127.0.0.1:<port>/<export>` joined by commas, in disk order. */
  nbdTargets: string;
  backupType: 'full' | 'incremental';
  previousChangeId?: string;
}>;

/** The node could not be reached: nothing was started for certain only when `sent` is false. */
export class NodeUnreachable extends Error {
  readonly sent: boolean;
  constructor(message: string, sent: boolean, options?: ErrorOptions) {
    super(message, options);
    this.name = 'NodeUnreachable';
    this.sent = sent;
  }
}

/** The node answered, and not with what was asked for. */
export class NodeRefused extends Error {
  readonly status: number;
  readonly body: string;
  constructor(status: number, body: string, options?: ErrorOptions) {
    super(`the node answered ${status}: ${body}`, options);
    this.name = 'NodeRefused';
    this.status = status;
    this.body = body;
  }
}

/** The node appliance at the VM's site. Throws `NodeUnreachable` or `NodeRefused` (also for an answer that makes no sense). */
export interface BackupNode {
  /** Never repeated blindly: a second start with the same id may start a second client. */
  startBackup(request: TransferRequest, signal: AbortSignal): Promise<Readonly<{ pid: number | null }>>;
  /** Whether the node knows the job; after a crash between request and record. */
  knowsJob(jobId: string, signal: AbortSignal): Promise<boolean>;
  /** Stops a job's client. False when the node has no such call or no such job. */
  cancelBackup(jobId: string, signal: AbortSignal): Promise<boolean>;
}

/** Watches what process managers do. Runs `work` once and returns, or throws, what came of it. */
export interface StepObserver {
  step<T>(facts: StepFacts, work: () => Promise<T>): Promise<T>;
}

/** Watches work that comes again and again. */
export interface SweepObserver {
  /** The same work, watched; called once for each kind. */
  watch(sweep: Readonly<{ name: string; seconds: number }>, work: () => Promise<void>): () => Promise<void>;
}

export type StepFacts = Readonly<{ processManager: string; jobId: string; step: string }>;

/** What a process manager needs of a credential; the clear text lives no longer than the call. */
export interface CredentialVault {
  /** Throws `PermanentFailure` when the secret is gone or cannot be read. */
  loginOf(
    credentialId: number,
    /** What the use of the credential belongs to and follows from. */
    cause?: Readonly<{ correlationId: string; causationId?: string }>,
  ): Promise<Readonly<{ vcenterHost: string; username: string; password: string }>>;
}
