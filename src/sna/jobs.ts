import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { BackupStartRequest } from '#wire/node-api.ts';
import { runBackup } from './backup-run.ts';
import type { HubClient } from './hub-client.ts';
import { asJobFailure, JobFailure } from './job-failure.ts';
import { type JobRecord, type JobRequest, newJobRecord } from './job-record.ts';
import { JobStore, type StoredJob } from './job-store.ts';
import { Mutex } from './mutex.ts';
import { type NbdTarget, parseNbdTargets } from './nbd-targets.ts';
import type { Programs } from './programs.ts';
import { Refusal } from './refusal.ts';
import type { Source, SourceVm } from './source.ts';
import { failureTelemetry, TelemetryReporter, telemetryOf } from './telemetry.ts';

type Job = { record: JobRecord; stop: AbortController; vmId: string | undefined; ended: Promise<void>; told: boolean };
export type JobsDeps = Readonly<{ source: Source; hub: HubClient; programs: Programs; dataDir: string; log: Logger }>;

const stopReportTimeoutMs = 3_000;

const requestOf = (request: BackupStartRequest): JobRequest => {
  const { job_id, vm_name, vm_path, nbd_targets, backup_type, previous_change_id } = request;
  const base = { job_id, vm_name, vm_path, nbd_targets, backup_type };
  return previous_change_id === undefined ? base : { ...base, previous_change_id };
};

const stored = ({ record, told }: Job): StoredJob => ({
  version: 1,
  request: record.request,
  startedMs: record.startedMs,
  status: record.status,
  failure: record.failure === undefined ? null : { code: record.failure.code, message: record.failure.message },
  told,
});

const targetsFor = (text: string, vm: SourceVm): readonly NbdTarget[] => {
  const targets = parseNbdTargets(text);
  const keys = new Set(vm.disks.map(({ key }) => key));
  const missing = vm.disks.filter(({ key }) => !targets.some(({ diskKey }) => diskKey === key));
  if (missing.length > 0)
    throw new Refusal(400, `nbd_targets: no target for ${missing.map(({ label }) => label).join(', ')}`);
  const unknown = targets.find(({ diskKey }) => !keys.has(diskKey));
  if (unknown !== undefined) throw new Refusal(400, `nbd_targets: ${vm.name} has no disk with key ${unknown.diskKey}`);
  return targets;
};

/**
 * All backup jobs of this node. A job is on disk before it starts: what was running when the node died is told to the
 * hub as failed at the next start. One backup of a VM at a time; the hub sees to that, so a new one means that it has
 * given up the old one, which is then stopped.
 */
export class Jobs {
  readonly #deps: JobsDeps;
  readonly #store: JobStore;
  readonly #jobs = new Map<string, Job>();
  readonly #starting = new Mutex();
  readonly #closing = new AbortController();
  readonly #reports = new Set<Promise<void>>();

  constructor(deps: JobsDeps) {
    this.#deps = deps;
    this.#store = new JobStore(deps.dataDir);
  }

  get #runFolder() {
    return join(this.#deps.dataDir, 'run');
  }

  /** Before the first request: cleans up after a node that died. */
  async recover(): Promise<void> {
    await rm(this.#runFolder, { recursive: true, force: true });
    await mkdir(this.#runFolder, { mode: 0o700 });
    for (const job of await this.#store.load()) {
      const record = newJobRecord(job.request as JobRequest, job.startedMs);
      record.status = job.status;
      if (job.failure !== null) record.failure = new JobFailure(job.failure.code, job.failure.message);
      const known: Job = {
        record,
        stop: new AbortController(),
        vmId: undefined,
        ended: Promise.resolve(),
        told: job.told,
      };
      this.#jobs.set(job.request.job_id, known);
      if (record.status === 'running') {
        this.#deps.log.warn({ jobId: job.request.job_id }, 'job was running when the node ended');
        await this.#failed(known, new JobFailure('node_restarted', 'the node ended while the backup was running'));
      }
      if (!known.told) this.#tell(known);
    }
  }

  get(jobId: string): JobRecord | undefined {
    return this.#jobs.get(jobId)?.record;
  }

  /** A repeat of the same request answers with the job there is. */
  async start(request: BackupStartRequest, signal: AbortSignal): Promise<JobRecord> {
    const release = await this.#starting.acquire(signal);
    try {
      const wanted = requestOf(request);
      const existing = this.#jobs.get(request.job_id)?.record;
      if (existing !== undefined) {
        if (sameRequest(existing.request, wanted)) return existing;
        throw new Refusal(409, `job ${request.job_id} exists with another request`);
      }
      const { vcenter_host: vcenter, vcenter_user: username, vcenter_password: password } = request;
      const vm = await this.#deps.source.findVm({ vcenter, username, password }, request.vm_path, signal);
      const targets = targetsFor(request.nbd_targets, vm);
      await this.#supersede(vm, request.job_id);
      return await this.#begin(wanted, vm, targets);
    } finally {
      release();
    }
  }

  async #supersede(vm: SourceVm, byJobId: string): Promise<void> {
    for (const job of this.#jobs.values()) {
      if (job.vmId !== vm.id || job.record.status !== 'running') continue;
      this.#deps.log.warn({ jobId: job.record.request.job_id, byJobId }, 'job superseded');
      job.stop.abort(new JobFailure('superseded', `another backup of ${vm.name} was started: ${byJobId}`));
      await job.ended;
    }
  }

  async #begin(request: JobRequest, vm: SourceVm, targets: readonly NbdTarget[]): Promise<JobRecord> {
    const record = newJobRecord(request, Date.now());
    const job: Job = { record, stop: new AbortController(), vmId: vm.id, ended: Promise.resolve(), told: false };
    await this.#store.save(stored(job));
    this.#jobs.set(request.job_id, job);
    job.ended = this.#run(job, vm, targets);
    return record;
  }

  /** Never rejects. */
  async #run(job: Job, vm: SourceVm, targets: readonly NbdTarget[]): Promise<void> {
    const { hub, programs } = this.#deps;
    const jobId = job.record.request.job_id;
    const log = this.#deps.log.child({ jobId });
    log.info({ vm: vm.name, type: job.record.request.backup_type }, 'backup starts');
    const telemetry = new TelemetryReporter(job.record, hub, log);
    const folder = await mkdtemp(join(this.#runFolder, 'job-'));
    try {
      await runBackup({ job: job.record, vm, targets, folder, hub, programs, telemetry, log }, job.stop.signal);
      job.told = true; // every disk's completion was accepted
      job.record.status = 'completed';
      await telemetry.close();
      log.info('backup completed');
      await this.#save(job);
    } catch (error) {
      await telemetry.close();
      const failure = asJobFailure(error, job.stop.signal);
      log.error({ code: failure.code, err: error }, 'backup failed');
      await this.#failed(job, failure);
      this.#tell(job);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #failed(job: Job, failure: JobFailure): Promise<void> {
    job.record.failure = failure;
    job.record.status = failure.code === 'cancelled' ? 'cancelled' : 'failed';
    job.record.updatedMs = Date.now();
    await this.#save(job);
  }

  async #save(job: Job): Promise<void> {
    await this.#store.save(stored(job)).catch((error: unknown) => {
      this.#deps.log.error({ jobId: job.record.request.job_id, err: error }, 'job record not saved');
    });
  }

  /** Beside everything else: the hub may be away for long. */
  #tell(job: Job): void {
    const report = this.#report(job).finally(() => this.#reports.delete(report));
    this.#reports.add(report);
  }

  async #report(job: Job): Promise<void> {
    const { failure, request } = job.record;
    if (failure === undefined) return;
    const nowMs = Date.now();
    const body = failureTelemetry(telemetryOf(job.record, nowMs), failure, nowMs);
    job.told = await this.#deps.hub.reportFailure(request.job_id, body, this.#closing.signal);
    if (job.told) await this.#save(job);
  }

  /** Resolves when nothing of the run is left. May be repeated. */
  async cancel(jobId: string): Promise<JobRecord> {
    const job = this.#jobs.get(jobId);
    if (job === undefined) throw new Refusal(404, 'job not found');
    if (job.record.status === 'running') job.stop.abort(new JobFailure('cancelled', 'the backup was cancelled'));
    await job.ended;
    return job.record;
  }

  /** Stops all jobs and tells the hub, if it answers at once; if not, the next start does. */
  async close(): Promise<void> {
    await this.#starting.acquire(new AbortController().signal); // kept: nothing starts any more
    const reason = new JobFailure('node_stopping', 'node is stopping');
    for (const { record, stop } of this.#jobs.values()) if (record.status === 'running') stop.abort(reason);
    await Promise.all([...this.#jobs.values()].map(({ ended }) => ended));
    const giveUp = setTimeout(() => this.#closing.abort(reason), stopReportTimeoutMs);
    await Promise.all(this.#reports);
    clearTimeout(giveUp);
    this.#closing.abort(reason);
  }
}

const sameRequest = (a: JobRequest, b: JobRequest): boolean =>
  a.vm_name === b.vm_name &&
  a.vm_path === b.vm_path &&
  a.nbd_targets === b.nbd_targets &&
  a.backup_type === b.backup_type &&
  a.previous_change_id === b.previous_change_id;
