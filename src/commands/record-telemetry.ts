import { backupDecider } from '#domain/backup/decide.ts';
import { isRunning, type KnownBackup } from '#domain/backup/state.ts';
import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import { type Report, telemetryDecider } from '#domain/telemetry/decide.ts';
import type { ProgressReported } from '#domain/telemetry/events.ts';
import type { BackupInventory } from './backup-ports.ts';
import { loadForClient } from './client-call.ts';
import { handle } from './handle.ts';
import { type Clock, type CommandContext, type EventStore, RevisionConflict } from './ports.ts';
import type { ReportingJobs } from './reporting-jobs.ts';

type Deps = Readonly<{ store: EventStore; clock: Clock; inventory: BackupInventory; jobs?: ReportingJobs }>;

/**
 * Posts kept of one job: more than a week of one every ten seconds, and a bound for a client that has gone wild. The roll-up
 * truncates the stream at the job's end; the age takes what a crash just then left behind.
 */
const bounds = { maxCount: 65_536, maxAgeSeconds: 90 * 24 * 3600 };

type Job = Readonly<{ state: KnownBackup; onlyDisk: number | null; context: CommandContext }>;

const findJob = async (deps: Deps, jobId: string, request: CommandContext): Promise<Job> => {
  const { loaded, context } = await loadForClient(deps, jobId, request);
  if (loaded.state.status !== 'none') return { state: loaded.state, onlyDisk: null, context };
  const disk = await deps.inventory.jobOfDisk(jobId);
  if (disk) {
    const job = await loadForClient(deps, disk.backupId, request);
    const { state } = job.loaded;
    if (state.status !== 'none') return { state, onlyDisk: disk.diskIndex, context: job.context };
  }
  throw new DomainError('job-not-found', `there is no job ${jobId}`, { jobId });
};

/** What a report means for the job: a disk that has arrived, an end, a sign of life. */
const follow = async (deps: Deps, job: KnownBackup, data: ProgressReported['data'], context: CommandContext) => {
  const { backupId } = job;
  const target = { decider: backupDecider, stream: streamOf.backup(backupId) };
  const { at, status, error, progress } = data;
  if (status === 'failed' || error !== null) {
    const reason = error ?? 'the backup client reported a failure and gave no reason';
    return handle(deps.store, target, { type: 'FailBackup', data: { backupId, kind: 'client', reason, at } }, context);
  }
  if (status === 'stalled') {
    const reason = 'the backup client says that it is stalled';
    return handle(deps.store, target, { type: 'MarkStalled', data: { backupId, reason, at } }, context);
  }
  const disks = progress.disks
    .filter((disk) => disk.status === 'transferred')
    .filter(({ index }) => job.disks.some((disk) => disk.index === index && !disk.transferred))
    .map(({ index, bytesTransferred }) => ({ diskIndex: index, bytesTransferred }));
  if (job.status === 'stalled') {
    await handle(deps.store, target, { type: 'Resume', data: { backupId, at } }, context);
  }
  if (disks.length === 0) return undefined;
  return handle(deps.store, target, { type: 'MarkDisksTransferred', data: { backupId, disks, at } }, context);
};

type Post = Readonly<{ jobId: string; report: Report; fingerprint: string }>;

/** Running jobs alone are kept in mind: there is nothing to save for the others. */
const recall = async (deps: Deps, jobId: string, request: CommandContext): Promise<Job> => {
  const nowMs = Date.parse(deps.clock.now());
  const known = deps.jobs?.find(jobId, nowMs);
  if (known) {
    const { state, onlyDisk, causationId } = known;
    return { state, onlyDisk, context: causationId === undefined ? request : { ...request, causationId } };
  }
  const job = await findJob(deps, jobId, request);
  const { state, onlyDisk, context } = job;
  if (isRunning(state)) deps.jobs?.keep(jobId, { state, onlyDisk, causationId: context.causationId }, nowMs);
  return job;
};

const keepReport = (deps: Deps, { state, onlyDisk, context }: Job, post: Post) => {
  const { backupId: jobId, backupType, disks } = state;
  // Two disks may send the same words in the same second: only the same disk's are a repeat.
  const fingerprint = onlyDisk === null ? post.fingerprint : `${post.fingerprint}-disk${onlyDisk}`;
  const loaded = deps.jobs?.newest(jobId);
  return handle(
    deps.store,
    { decider: telemetryDecider, stream: streamOf.telemetry(jobId), ...(loaded ? { loaded } : {}) },
    {
      type: 'ReportProgress',
      data: {
        ...{ jobId, at: deps.clock.now(), fingerprint, report: post.report, onlyDisk },
        job: { backupType, disks },
      },
    },
    context,
  );
};

/** The job's end truncates its telemetry, and a stream that was emptied while a report was under way takes no more. */
const endedMeanwhile = async (deps: Deps, { state, context }: Job, error: unknown): Promise<undefined> => {
  if (!(error instanceof RevisionConflict)) throw error;
  if (isRunning((await findJob(deps, state.backupId, context)).state)) throw error;
  return undefined;
};

/**
 * Keeps a client's report as an event of the job's telemetry stream and tells the job what follows from it. Reports for a
 * job that has ended are accepted and change nothing. Throws `job-not-found`.
 */
export const createRecordTelemetry =
  (deps: Deps) =>
  async (post: Post, request: CommandContext): Promise<Readonly<{ position: bigint | undefined }>> => {
    const job = await recall(deps, post.jobId, request);
    const { state, context } = job;
    if (!isRunning(state)) return { position: undefined };
    const stream = streamOf.telemetry(state.backupId);
    const reported = await keepReport(deps, job, post).catch((error: unknown) => {
      deps.jobs?.forget(state.backupId);
      return endedMeanwhile(deps, job, error);
    });
    if (!reported) return { position: undefined };
    deps.jobs?.keepNewest(state.backupId, { state: reported.state, revision: reported.revision, depth: 1 });
    if (reported.first) await deps.store.bound(stream, bounds);
    const [event] = reported.events;
    const followed = event ? await follow(deps, state, event.data, context) : undefined;
    if (followed || state.status === 'stalled') deps.jobs?.forget(state.backupId);
    return { position: followed?.position ?? reported.position };
  };
