import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inWords } from '#domain/backup/duration.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { explain } from '#domain/backup/explain.ts';
import type { Told, Topic } from '#domain/backup/explanation.ts';
import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import type { RestorePointsEvent } from '#domain/restore-points/events.ts';
import {
  at,
  backupDisk,
  backupId,
  backupStarted,
  changeIds,
  facts,
  histories,
  pointDisk,
  progress,
  repositoryId,
  restorePoint,
  vmContextId,
} from '../../support/backup-facts.ts';

const between: Told['between'] = (from, to) => Date.parse(to) - Date.parse(from);

const recorded = <E extends DomainEvent>(events: readonly E[], stream: string, from = 0): readonly RecordedEvent<E>[] =>
  events.map((event, index) => ({
    ...{ event, id: `${stream}-${from + index}`, stream, revision: BigInt(from + index) },
    ...{ position: BigInt(from + index + 1), metadata: { by: 'user:admin', v: 1 } },
    recordedAt: (event.data as { at?: string }).at ?? at(),
  }));

const parent = 'backup-pgtest1-1795000000';

const admitted = (over: object = {}): RestorePointsEvent => ({
  type: 'BackupAdmitted',
  data: {
    vmContextId,
    active: {
      ...{ backupId, requestId: 'r', backupContextId: 'c', repositoryId, type: 'full', parentBackupId: null },
      ...{ bases: [], admittedAt: at() },
      ...over,
    },
  },
});

const added: RestorePointsEvent = {
  type: 'RestorePointAdded',
  data: { vmContextId, point: restorePoint({ backupId: parent }) },
};

/** The VM's stream comes first in the log. */
const tell = (
  job: readonly BackupEvent[],
  points: readonly RestorePointsEvent[] = [],
  firstReport?: Told['firstReport'],
): Told => ({
  job: recorded(job, 'backup', 100),
  points: recorded(points, 'points'),
  firstReport,
  between,
});

const textsOf = (told: Told, topic: Topic) =>
  explain(told)
    .filter((point) => point.topic === topic)
    .map(({ text }) => text);

const incremental = backupStarted({
  backupType: 'incremental',
  parentBackupId: parent,
  disks: [0, 1].map((index) => backupDisk(index, { base: pointDisk(index, { imagePath: `/old-${index}.qcow2` }) })),
});

describe('why a backup is what it is', () => {
  test('an unknown job is not explained', () => assert.deepEqual(explain(tell([])), []));

  test('a full one was asked for: as the first, or although there was a base', () => {
    assert.match(textsOf(tell(histories.completed, [admitted()]), 'type')[0] ?? '', /nothing could be restored/);
    const [again = ''] = textsOf(tell(histories.completed, [added, admitted()]), 'type');
    assert.match(again, new RegExp(`an increment on ${parent}.* was not asked for`));
    assert.match(again, /asked for by user:admin/);
  });

  test('what was added after the admission was no base', () => {
    assert.match(textsOf(tell(histories.completed, [admitted(), added]), 'type')[0] ?? '', /nothing could be restored/);
  });

  test('an increment names the base and the change id of each disk, with the event that made them', () => {
    const late: RestorePointsEvent = {
      type: 'LateChangeIdRecorded',
      data: { vmContextId, backupId: parent, diskIndex: 1, changeId: changeIds[1], at: at() },
    };
    const told = tell([incremental, ...histories.completed.slice(1)], [added, late, admitted({ type: 'incremental' })]);
    const points = explain(told);
    const bases = points.filter(({ topic }) => topic === 'base');
    assert.deepEqual(
      bases.map(({ diskIndex, evidence }) => [diskIndex, evidence.map(({ type }) => type)]),
      [0, 1].map((index) => [index, ['BackupStarted', 'RestorePointAdded']]),
    );
    assert.match(bases[1]?.text ?? '', /\/old-1\.qcow2/);
    const from = points.filter(({ topic, text }) => topic === 'change-id' && text.startsWith('What changed'));
    assert.deepEqual(
      from.map(({ evidence }) => evidence.at(-1)?.type),
      ['RestorePointAdded', 'LateChangeIdRecorded'],
    );
    assert.match(from[1]?.text ?? '', /came after the end of that backup/);
  });

  test('tells what the node was asked for only where the event says it', () => {
    const asked = (previousChangeId?: string | null): BackupEvent => ({
      type: 'TransferRequested',
      data: { ...facts.requested().data, ...(previousChangeId === undefined ? {} : { previousChangeId }) },
    });
    const texts = (event: BackupEvent) => textsOf(tell([backupStarted(), event]), 'change-id');
    assert.deepEqual(texts(asked()), []);
    assert.match(texts(asked(null))[0] ?? '', /copy everything/);
    assert.match(texts(asked('52 66/1'))[0] ?? '', /since 52 66\/1/);
  });
});

describe('what a backup waited for', () => {
  test('each wait has its length and both its ends', () => {
    const waits = explain(tell(histories.completed)).filter(({ topic }) => topic === 'wait');
    const node = waits.find(({ text }) => text.includes('node appliance'));
    assert.deepEqual(
      [node?.durationMs, node?.evidence.map(({ type }) => type)],
      [1000, ['TransferRequested', 'TransferAccepted']],
    );
    assert.deepEqual(
      waits.filter(({ diskIndex }) => diskIndex === 1).map(({ text }) => text),
      [
        'Waited 1.0 s for the empty image of disk 1.',
        'Waited 1.0 s for the export of disk 1 to open.',
        'Waited 32.0 s for the data of disk 1.',
      ],
    );
  });

  test('the first report is proved by itself, or by the end of the job that noted it', () => {
    const [report] = recorded([progress()], 'telemetry', 500);
    assert.ok(
      textsOf(tell(histories.running, [], report), 'wait').some((text) => /6\.0 s for the client's/.test(text)),
    );
    const telemetry = { firstAt: at(14), lastAt: at(30), reports: 3, last: progress().data.progress };
    const closed: BackupEvent = { type: 'BackupClosed', data: { backupId, at: at(43), performance: null, telemetry } };
    const told = tell([...histories.completed.slice(0, -1), closed]);
    assert.ok(textsOf(told, 'wait').some((text) => /10\.0 s for the client's first report/.test(text)));
    assert.ok(!textsOf(tell(histories.completed), 'wait').some((text) => /first report/.test(text)));
  });

  test('goes on while the job runs, and was in vain when it failed', () => {
    assert.ok(textsOf(tell(histories.running), 'wait').includes('Still waits for the data of disk 0.'));
    assert.ok(textsOf(tell(histories.failed), 'wait').includes('Waited for the data of disk 0, and it never came.'));
  });

  test('a stall is a wait and a trouble', () => {
    const told = tell([...histories.stalled, facts.resumed()]);
    assert.ok(textsOf(told, 'wait').some((text) => /10\.0 s for a sign of life/.test(text)));
    assert.equal(textsOf(told, 'trouble').length, 1);
  });
});

describe('how a backup ended', () => {
  test('in order, with the exports that prove it and what became of it', () => {
    const told = tell(histories.removed, [admitted(), { ...added, data: { vmContextId, point: restorePoint() } }]);
    const end = explain(told).find(({ topic }) => topic === 'end');
    assert.match(end?.text ?? '', /^It completed after 42\.0 s/);
    assert.deepEqual(
      end?.evidence.map(({ type }) => type),
      ['DiskExportStopped', 'DiskExportStopped', 'RestorePointAdded', 'BackupCompleted'],
    );
    assert.deepEqual(textsOf(told, 'afterwards'), [
      'Deletion was requested. By user:admin.',
      'Deleted the backup and its files. By user:admin.',
    ]);
  });

  test('by a failure, with whose fault it was', () => {
    assert.match(textsOf(tell(histories.failed), 'end')[0] ?? '', /failed after 20\.0 s, because of the backup client/);
    assert.deepEqual(textsOf(tell(histories.running), 'end'), ['It has not ended yet.']);
  });
});

test('durations read as people say them', () => {
  assert.deepEqual([-5, 85, 1_449, 59_949, 59_951, 125_000, 11_400_000].map(inWords), [
    ...['0 ms', '85 ms', '1.4 s', '59.9 s', '1 min 0 s', '2 min 5 s', '3 h 10 min'],
  ]);
});
