import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Report, type ReportedDisk, type ReportingJob, telemetryDecider } from '#domain/telemetry/decide.ts';
import type { Progress, ProgressReported } from '#domain/telemetry/events.ts';
import { at, backupId, gib } from '../../support/backup-facts.ts';

const twoDisks = (over: Partial<ReportingJob> = {}): ReportingJob => ({
  backupType: 'full',
  disks: [
    { index: 0, capacityBytes: 100 * gib, transferred: false },
    { index: 1, capacityBytes: 25 * gib, transferred: false },
  ],
  ...over,
});
const oneDisk = twoDisks({ disks: [{ index: 0, capacityBytes: 100 * gib, transferred: false }] });

const report = (over: Partial<Report> = {}): Report => ({
  ...{ status: 'running', phase: 'transferring', bytesTransferred: 0, totalBytes: 0, speedBps: 0, etaSeconds: 0 },
  ...{ percent: 0, disks: [], error: null, timestamp: null },
  ...over,
});

type Step = Readonly<{ report: Report; job?: ReportingJob; onlyDisk?: number; fingerprint?: string }>;

/** Plays reports into a job, each decided on what the one before has left. */
const play = (job: ReportingJob, ...steps: readonly Step[]): ProgressReported['data'] => {
  let state: ProgressReported['data'] | null = null;
  steps.forEach((step, index) => {
    const [event] = telemetryDecider.decide(
      {
        type: 'ReportProgress',
        data: {
          ...{ jobId: backupId, at: at(index), job: step.job ?? job, report: step.report },
          ...{ onlyDisk: step.onlyDisk ?? null, fingerprint: step.fingerprint ?? `report-${index}` },
        },
      },
      state,
    );
    assert.ok(event);
    state = telemetryDecider.evolve(state, event);
  });
  assert.ok(state);
  return state;
};
const progress = (job: ReportingJob, ...reports: readonly Report[]): Progress =>
  play(job, ...reports.map((each) => ({ report: each }))).progress;

const disk = (index: number, over: Partial<ReportedDisk> = {}): ReportedDisk => ({
  ...{ index, bytesTransferred: 0, totalBytes: 0, percent: 0, status: 'transferring' },
  ...over,
});
const statuses = ({ disks }: Progress) => disks.map(({ status }) => status);
const disksDone = ({ disks }: Progress) =>
  disks.map(({ bytesTransferred, percent }) => [bytesTransferred / gib, percent]);

/** The final message of a client for each disk: zeros for everything. */
const finalZeros = (timestamp: string | null = null) => report({ status: 'completed', phase: 'completed', timestamp });

describe('a client that tells only of the disk it is copying', () => {
  const firstHalf = report({
    bytesTransferred: 50 * gib,
    totalBytes: 100 * gib,
    percent: 50,
    speedBps: 1000,
    etaSeconds: 90,
  });
  const firstDone = report({ bytesTransferred: 100 * gib, totalBytes: 100 * gib, percent: 100, phase: 'completed' });
  const secondHalf = report({ bytesTransferred: 10 * gib, totalBytes: 25 * gib, percent: 40 });
  const secondDone = report({ bytesTransferred: 25 * gib, totalBytes: 25 * gib, percent: 100, phase: 'completed' });
  const job = twoDisks();

  test('is at the first disk first; the job’s progress goes by capacity', () => {
    const now = progress(job, firstHalf);
    assert.deepEqual(disksDone(now), [
      [50, 50],
      [0, 0],
    ]);
    assert.deepEqual([now.percent, now.bytesTransferred, now.totalBytes], [40, 50 * gib, 125 * gib]);
    assert.deepEqual([now.speedBps, now.etaSeconds, now.phase], [1000, 90, 'transferring']);
  });
  test('has not finished a disk by 100 %', () =>
    assert.deepEqual(statuses(progress(job, firstHalf, firstDone)), ['transferring', 'pending']));
  test('finishes one disk with its final message, and keeps the numbers that its zeros would wipe', () => {
    const now = progress(job, firstHalf, firstDone, finalZeros());
    assert.deepEqual(statuses(now), ['transferred', 'pending']);
    assert.deepEqual(disksDone(now), [
      [100, 100],
      [0, 0],
    ]);
    assert.deepEqual([now.bytesTransferred, now.percent, now.speedBps, now.etaSeconds], [100 * gib, 80, 1000, 0]);
  });
  test('then speaks of the second disk', () => {
    const now = progress(job, firstHalf, firstDone, finalZeros(), secondHalf);
    assert.deepEqual(disksDone(now), [
      [100, 100],
      [10, 40],
    ]);
    assert.deepEqual([now.bytesTransferred, now.totalBytes, now.percent], [110 * gib, 125 * gib, 88]);
  });
  test('is done after the final message of the last', () => {
    const now = progress(job, firstHalf, firstDone, finalZeros(), secondHalf, secondDone, finalZeros());
    assert.deepEqual(statuses(now), ['transferred', 'transferred']);
    assert.deepEqual([now.bytesTransferred, now.percent], [125 * gib, 100]);
  });
  test('may send nothing but final messages', () => {
    const now = progress(job, finalZeros('1'), finalZeros('2'));
    assert.deepEqual(statuses(now), ['transferred', 'transferred']);
    assert.deepEqual([now.bytesTransferred, now.percent], [0, 100]);
  });
  test('whose final message was lost is at the second disk once the job knows the first to be in', () => {
    const [zero, one] = job.disks;
    const known = { ...job, disks: [{ ...zero, transferred: true }, one] } as ReportingJob;
    const { progress: now } = play(job, { report: firstHalf }, { report: secondHalf, job: known });
    assert.deepEqual(disksDone(now), [
      [50, 50],
      [10, 40],
    ]);
  });
  test('that goes on after the last disk changes no disk', () => {
    const done = [finalZeros('1'), finalZeros('2')];
    assert.deepEqual(progress(job, ...done, secondHalf).disks, progress(job, ...done).disks);
  });
  test('counts only what is known to be copied in an increment', () => {
    const now = progress(
      twoDisks({ backupType: 'incremental' }),
      report({ bytesTransferred: gib, totalBytes: 2 * gib, percent: 50 }),
    );
    assert.equal(now.totalBytes, 2 * gib);
  });
});

describe('a client that lists its disks', () => {
  test('tells the job’s numbers at the top and each disk’s in its entry', () => {
    const now = progress(
      twoDisks(),
      report({
        ...{ bytesTransferred: 60 * gib, totalBytes: 90 * gib, percent: 66 },
        disks: [
          disk(0, { bytesTransferred: 40 * gib, totalBytes: 60 * gib, percent: 66 }),
          disk(1, { bytesTransferred: 20 * gib, percent: 80 }),
        ],
      }),
    );
    assert.deepEqual([now.bytesTransferred, now.totalBytes, now.percent], [60 * gib, 90 * gib, 66]);
    assert.deepEqual(disksDone(now), [
      [40, 66],
      [20, 80],
    ]);
  });
  test('finishes the disks that it lists as done, in any order', () => {
    const second = progress(twoDisks(), report({ disks: [disk(1, { status: 'transferred' })] }));
    assert.deepEqual(statuses(second), ['pending', 'transferred']);
    const both = report({
      status: 'completed',
      disks: [disk(0, { status: 'transferred' }), disk(1, { status: 'transferred' })],
    });
    assert.deepEqual(statuses(progress(twoDisks(), both)), ['transferred', 'transferred']);
  });
  test('does not finish a disk that it leaves out', () => {
    const one = report({ status: 'completed', disks: [disk(0, { status: 'transferred' })] });
    assert.deepEqual(statuses(progress(twoDisks(), one)), ['transferred', 'pending']);
  });
  test('cannot open a finished disk again, nor add one', () => {
    const now = progress(
      twoDisks(),
      report({ disks: [disk(0, { status: 'transferred', bytesTransferred: gib })] }),
      report({ disks: [disk(0, { percent: 3 }), disk(5, { percent: 3 })] }),
    );
    assert.deepEqual(now.disks[0], {
      index: 0,
      bytesTransferred: gib,
      totalBytes: 0,
      percent: 100,
      status: 'transferred',
    });
    assert.equal(now.disks.length, 2);
  });
});

describe('a client that reports under one disk’s own id', () => {
  test('describes that disk with all numbers, in any order', () => {
    const { progress: now } = play(
      twoDisks(),
      { report: report({ bytesTransferred: 5 * gib, percent: 20 }), onlyDisk: 1 },
      { report: report({ bytesTransferred: 30 * gib, percent: 30 }), onlyDisk: 0 },
      { report: finalZeros(), onlyDisk: 1 },
    );
    assert.deepEqual(disksDone(now), [
      [30, 30],
      [5, 100],
    ]);
    assert.deepEqual(statuses(now), ['transferring', 'transferred']);
    assert.deepEqual([now.bytesTransferred, now.percent], [35 * gib, 44]);
  });
});

describe('a job of one disk', () => {
  test('has the numbers of its disk', () => {
    const now = progress(oneDisk, report({ bytesTransferred: 7 * gib, totalBytes: 70 * gib, percent: 10 }));
    assert.deepEqual([now.bytesTransferred, now.totalBytes, now.percent], [7 * gib, 70 * gib, 10]);
    assert.deepEqual(disksDone(now), [[7, 10]]);
  });
  test('of unknown total takes the disk’s capacity for it in a full backup only', () => {
    const some = report({ bytesTransferred: gib, percent: 1 });
    assert.equal(progress(oneDisk, some).totalBytes, 100 * gib);
    assert.equal(progress({ ...oneDisk, backupType: 'incremental' }, some).totalBytes, 0);
  });
});

describe('progress', () => {
  test('never falls, and nothing known is replaced by nothing', () => {
    const high = report({ bytesTransferred: 80 * gib, totalBytes: 100 * gib, percent: 80, speedBps: 9, etaSeconds: 4 });
    const now = progress(oneDisk, high, report({ percent: 20, bytesTransferred: 20 * gib, phase: '' }));
    assert.deepEqual([now.percent, now.bytesTransferred, now.totalBytes, now.speedBps], [80, 80 * gib, 100 * gib, 9]);
    assert.deepEqual([now.phase, now.etaSeconds], ['transferring', 0]);
    const after = progress(oneDisk, high, report());
    assert.deepEqual(after.disks, progress(oneDisk, high).disks);
  });
  test('of the job never falls either, whatever its client says at the top', () => {
    const disks = [disk(0, { percent: 50 }), disk(1)];
    const high = report({ percent: 80, bytesTransferred: 90 * gib, disks });
    const now = progress(twoDisks(), high, report({ percent: 20, bytesTransferred: 10 * gib, disks }));
    assert.deepEqual([now.percent, now.bytesTransferred], [80, 90 * gib]);
  });
  test('stays within 100 %', () => assert.equal(progress(oneDisk, report({ percent: 140 })).percent, 100));
  test('a report of failure carries its reason', () => {
    const { status, error } = play(oneDisk, { report: report({ status: 'failed', error: 'no space' }) });
    assert.deepEqual([status, error], ['failed', 'no space']);
  });
});

describe('reports that come twice or in the wrong order', () => {
  const job = twoDisks();

  test('a doubled final message does not finish the next disk', () => {
    const twice = { report: finalZeros('2026-11-22T02:16:10Z'), fingerprint: 'same' };
    assert.deepEqual(statuses(play(job, twice, twice).progress), ['transferred', 'pending']);
  });
  test('without a time of its own it cannot be told from a new one', () => {
    const same = { report: finalZeros(), fingerprint: 'same' };
    assert.deepEqual(statuses(play(job, same, same).progress), ['transferred', 'transferred']);
  });
  test('numbers of an older report are dropped, and the newest time stays', () => {
    const newer = report({ bytesTransferred: 50 * gib, percent: 50, timestamp: '2026-11-22T02:16:20.000Z' });
    const older = report({ bytesTransferred: 90 * gib, percent: 90, timestamp: '2026-11-22T02:16:19.999Z' });
    const { progress: now, senderTimestamp } = play(job, { report: newer }, { report: older });
    assert.deepEqual([now.bytesTransferred, senderTimestamp], [50 * gib, '2026-11-22T02:16:20.000Z']);
    const equal = { ...older, timestamp: '2026-11-22T02:16:20.000Z' };
    assert.equal(progress(job, newer, equal).bytesTransferred, 90 * gib);
    assert.equal(progress(job, newer, { ...older, timestamp: null }).bytesTransferred, 90 * gib);
  });

  const now = report({ percent: 10, timestamp: '2026-11-22T02:16:20.000Z' });
  const outdated = '2026-11-22T02:16:19.000Z';
  test('an older report still says which listed disks are done', () => {
    const done = report({ status: 'completed', timestamp: outdated, disks: [disk(1, { status: 'transferred' })] });
    assert.deepEqual(statuses(progress(job, now, done)), ['transferring', 'transferred']);
  });
  test('an older final message counts where it can mean one disk only', () => {
    assert.deepEqual(statuses(progress(oneDisk, now, finalZeros(outdated))), ['transferred']);
    const { progress: named } = play(job, { report: now }, { report: finalZeros(outdated), onlyDisk: 1 });
    assert.deepEqual(statuses(named), ['transferring', 'transferred']);
  });
  test('an older final message of several disks ends none: it may be the previous disk’s', () =>
    assert.deepEqual(statuses(progress(job, now, finalZeros(outdated))), ['transferring', 'pending']));
});
