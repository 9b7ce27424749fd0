import { createHash } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { failureCodes } from './job-failure.ts';
import { readJson, removeFile, writeJson } from './json-file.ts';

/** What must be known about a job after a crash; no secrets. `told`: the hub knows the outcome. */
const StoredJob = z.object({
  version: z.literal(1),
  request: z.object({
    job_id: z.string(),
    vm_name: z.string(),
    vm_path: z.string(),
    nbd_targets: z.string(),
    backup_type: z.enum(['full', 'incremental']),
    previous_change_id: z.string().optional(),
  }),
  startedMs: z.number(),
  status: z.enum(['running', 'completed', 'failed', 'cancelled']),
  failure: z.object({ code: z.enum(failureCodes), message: z.string() }).nullable(),
  told: z.boolean(),
});
export type StoredJob = z.infer<typeof StoredJob>;

const keptJobs = 200;

/** One small file per job, written before the job starts and when it has ended. */
export class JobStore {
  readonly #folder: string;

  constructor(dataDir: string) {
    this.#folder = join(dataDir, 'jobs');
  }

  // A job id is the hub's word and may hold anything: never a path.
  #path(jobId: string): string {
    return join(this.#folder, `${createHash('sha256').update(jobId).digest('hex')}.json`);
  }

  save(job: StoredJob): Promise<void> {
    return writeJson(this.#path(job.request.job_id), job);
  }

  /** All jobs, the oldest first; drops the oldest finished ones beyond a limit. */
  async load(): Promise<readonly StoredJob[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith('.json'));
    const stored = await Promise.all(names.map((name) => readJson(join(this.#folder, name), StoredJob)));
    const jobs = stored.filter((job) => job !== undefined).toSorted((a, b) => a.startedMs - b.startedMs);
    const surplus = jobs.slice(0, -keptJobs).filter(({ told }) => told);
    await Promise.all(surplus.map(({ request }) => removeFile(this.#path(request.job_id))));
    return jobs.filter((job) => !surplus.includes(job));
  }
}
