import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { BackupEvent, TelemetrySummary } from '#domain/backup/events.ts';
import type { DomainEvent } from '#domain/decider.ts';
import { backupsProjection } from '#projections/backups.ts';
import { at, backupId, facts, gib, histories, progress } from '../support/backup-facts.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { createTeller } from '../support/projected.ts';

let postgres: TestPostgres;
before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

const report = progress({ speedBps: 4711, bytesTransferred: 2 * gib }, { at: at(15) });
const telemetry: TelemetrySummary = { firstAt: at(10), lastAt: at(15), reports: 2, last: report.data.progress };
const closed: BackupEvent = { type: 'BackupClosed', data: { backupId, at: at(43), performance: null, telemetry } };

const rowsAfter = async (events: readonly DomainEvent[]) => {
  const { readModel } = await postgres.fresh();
  await createTeller(readModel, backupsProjection)(...events);
  const jobs = await readModel.selectFrom('backup_jobs').selectAll().execute();
  const disks = await readModel.selectFrom('backup_disks').selectAll().orderBy('disk_index').execute();
  return { jobs: jobs.map(({ position: _position, ...row }) => row), disks };
};

describe('tables that are built after the reports of a job were truncated', () => {
  const running = histories.running.length;
  const endings: Readonly<Record<string, readonly BackupEvent[]>> = {
    completed: histories.completed.slice(running, -1),
    failed: [facts.failed(), facts.cancelled(), facts.exportStopped(0, 'unclean'), facts.portsReleased()],
  };
  for (const [outcome, end] of Object.entries(endings)) {
    test(`come out as they were, for a job that ${outcome}`, async () => {
      const live = await rowsAfter([...histories.running, progress(), report, ...end, closed]);
      assert.equal(live.jobs[0]?.transfer_speed_bps, 4711);
      assert.deepEqual(await rowsAfter([...histories.running, ...end, closed]), live);
    });
  }

  test('come out as they were, for a disk of which the last report told less than one before it had arrived', async () => {
    const telling = (totalBytes: number) =>
      progress({
        disks: report.data.progress.disks.map((disk) => (disk.index === 1 ? { ...disk, totalBytes } : disk)),
      });
    const last = telling(2 * gib);
    const end = [facts.changeId(1), facts.changeId(0), facts.completed()];
    const shut = { ...closed, data: { ...closed.data, telemetry: { ...telemetry, last: last.data.progress } } };
    const live = await rowsAfter([...histories.running, telling(5 * gib), facts.changeId(1), last, ...end, shut]);
    assert.equal(live.disks[1]?.total_bytes, 2 * gib);
    assert.deepEqual(await rowsAfter([...histories.running, ...end, shut]), live);
  });

  test('know nothing of reports that an older hub did not keep', async () => {
    const { jobs } = await rowsAfter(histories.completed);
    assert.deepEqual([jobs[0]?.transfer_speed_bps, jobs[0]?.last_telemetry_at], [0, null]);
  });
});
