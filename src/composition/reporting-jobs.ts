import { createReportingJobs, type ReportingJobs } from '#commands/reporting-jobs.ts';
import { idFromStream, prefixOf } from '#domain/streams.ts';
import type { LiveReadModel } from './read-model.ts';

/** What the log tells of a job, whichever hub wrote it, ends what was believed of it. */
export const reportingJobsOf = ({ applied }: Pick<LiveReadModel, 'applied'>): ReportingJobs => {
  const jobs = createReportingJobs();
  applied.subscribe(({ stream }) => {
    if (stream.startsWith(prefixOf('backup'))) jobs.forget(idFromStream(stream));
  });
  return jobs;
};
