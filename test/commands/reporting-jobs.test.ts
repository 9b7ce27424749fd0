import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import type { EventStore } from '#commands/ports.ts';
import { createRecordTelemetry } from '#commands/record-telemetry.ts';
import { createReportingJobs } from '#commands/reporting-jobs.ts';
import { streamOf } from '#domain/streams.ts';
import { context, createReadyWorld, report } from '../support/backup-world.ts';

/** A running job whose client reports, and how many reads of the log each report costs. */
const reporting = async () => {
  const world = await createReadyWorld();
  const backupId = await world.start();
  await world.settle(backupId);
  let reads = 0;
  const store: EventStore = {
    ...world.store,
    read: (stream) => {
      reads += 1;
      return world.store.read(stream);
    },
    readBackwards: (stream) => {
      reads += 1;
      return world.store.readBackwards(stream);
    },
  };
  const deps = { ...world.commandDeps, store };
  const hub = () => {
    const jobs = createReportingJobs();
    const record = createRecordTelemetry({ ...deps, jobs });
    const post = (over: Parameters<typeof report>[0]) =>
      record({ jobId: backupId, report: report(over), fingerprint: randomUUID() }, context(backupId));
    return { jobs, post };
  };
  const kept = () => world.store.typesIn(streamOf.telemetry(backupId)).length;
  const readsOf = async (work: () => Promise<unknown>): Promise<number> => {
    const before = reads;
    await work();
    return reads - before;
  };
  return { world, backupId, hub, kept, readsOf };
};

describe('reports of a job that reports all the time', () => {
  test('cost an append and no read, and each is kept', async () => {
    const { hub, kept, readsOf } = await reporting();
    const { post } = hub();
    await post({ percent: 1 });
    assert.equal(await readsOf(() => post({ percent: 2 })), 0);
    assert.equal(await readsOf(() => post({ percent: 3 })), 0);
    assert.equal(kept(), 3);
  });

  test('are kept all, though two hubs take them in turn', async () => {
    const { hub, kept, world, backupId } = await reporting();
    const [one, two] = [hub(), hub()];
    for (const percent of [1, 2, 3]) {
      await one.post({ percent });
      await two.post({ percent: percent + 0.5 });
    }
    assert.equal(kept(), 6);
    const { events } = await world.store.read(streamOf.telemetry(backupId));
    const percents = events.map(({ event }) => (event.data as { progress: { percent: number } }).progress.percent);
    assert.deepEqual(
      percents,
      percents.toSorted((a, b) => a - b),
    );
  });

  test('read the job anew when something happened to it', async () => {
    const { hub, kept, world, backupId } = await reporting();
    const { post, jobs } = hub();
    await post({ percent: 1 });
    await world.telemetry(backupId, { status: 'failed', error: 'no space' });
    jobs.forget(backupId);
    const before = kept();
    assert.equal((await post({ percent: 2 })).position, undefined);
    assert.equal(kept(), before);
  });

  test('say stalled and running as without anything in mind', async () => {
    const { hub, world, backupId } = await reporting();
    const { post } = hub();
    await post({ percent: 1 });
    for (const status of ['stalled', 'running', 'stalled', 'running'] as const) {
      await post({ status });
      assert.equal((await world.jobOf(backupId)).status, status);
    }
  });
});
