import { describe, test } from 'node:test';
import type { BackupCommand } from '#domain/backup/decide.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { at, backupId, backupStarted, facts, gib, histories } from '../../support/backup-facts.ts';
import {
  close,
  complete,
  death,
  ended,
  fail,
  failRemoval,
  finishRemoval,
  first,
  job,
  open,
  record,
  ref,
  requestRemoval,
  resume,
  stall,
  start,
  transferred,
} from './commands.ts';

describe('a backup is started', () => {
  test('once', () => job().when(start).thenEvents(backupStarted()));
  for (const [state, history] of Object.entries({ ...open, ...ended })) {
    test(`and not again when it is ${state}`, () =>
      job(...history)
        .when(start)
        .thenNothing());
  }
});

describe('nothing is decided for a backup that was never started', () => {
  for (const command of [
    fail,
    stall,
    resume,
    complete,
    close,
    death(0),
    transferred([0, 1]),
    failRemoval,
    finishRemoval,
  ])
    test(command.type, () => job().when(command).thenNothing());
  for (const command of [record(0, first), requestRemoval])
    test(`${command.type} is refused`, () => void job().when(command).thenRefused('backup-not-found'));
  test('RecordSteps is refused', () => {
    job()
      .when({ type: 'RecordSteps', data: { ...ref, steps: [] } })
      .thenRefused('backup-not-found');
  });
});

describe('steps of the process manager', () => {
  const steps = (...all: Extract<BackupCommand, { type: 'RecordSteps' }>['data']['steps']): BackupCommand => ({
    type: 'RecordSteps',
    data: { ...ref, steps: all },
  });
  const both = [facts.portsAssigned(10100, 10101), facts.imageCreated(0), facts.imageCreated(1)] as const;

  test('are recorded in their order', () =>
    job(backupStarted())
      .when(steps(...both))
      .thenEvents(...both));
  test('are not news a second time', () => {
    job(...histories.running)
      .when(steps(...both, facts.exportStarted(0), facts.exportStarted(1), facts.requested(), facts.accepted()))
      .thenNothing();
  });
  test('of one disk say nothing of the other', () => {
    job(backupStarted(), facts.imageCreated(0))
      .when(steps(facts.imageCreated(0), facts.imageCreated(1)))
      .thenEvents(facts.imageCreated(1));
  });
  test('of a disk that the job does not have are dropped', () => {
    job(backupStarted())
      .when(steps(facts.imageCreated(2), facts.exportStarted(2), facts.exportStopped(2)))
      .thenNothing();
  });
  test('another port is news, the same is not', () => {
    const given2 = job(backupStarted(), facts.portsAssigned(10100, 10101));
    given2.when(steps(facts.portsAssigned(10100, 10101))).thenNothing();
    given2.when(steps(facts.portsAssigned(10100, 10107))).thenEvents(facts.portsAssigned(10100, 10107));
    given2.when(steps(facts.portLost(1, 10101))).thenEvents(facts.portLost(1, 10101));
    given2.when(steps(facts.portLost(1, 10100))).thenNothing();
  });
  test('an acceptance needs a request', () => {
    job(backupStarted()).when(steps(facts.accepted())).thenNothing();
    job(backupStarted(), facts.requested())
      .when(steps(facts.requested(), facts.accepted()))
      .thenEvents(facts.accepted());
  });
  test('that the end has overtaken are recorded: what was taken must be freed', () => {
    job(backupStarted(), facts.failed())
      .when(steps(facts.portsAssigned(10100, 10101), facts.imageCreated(1), facts.exportStarted(1)))
      .thenEvents(facts.portsAssigned(10100, 10101), facts.imageCreated(1), facts.exportStarted(1));
  });
  test('freeing is recorded once', () => {
    const freed = [
      facts.cancelled(),
      facts.exportStopped(0),
      facts.exportStopped(1),
      facts.portsReleased(),
      facts.imageDeleted(0),
      facts.imageDeleted(1),
    ];
    job(...histories.running, facts.failed())
      .when(steps(...freed))
      .thenEvents(...freed);
    job(...histories.failed)
      .when(steps(...freed))
      .thenNothing();
  });
});

describe('an export that dies', () => {
  const died = (diskIndex: number): readonly BackupEvent[] => [
    facts.exportDied(diskIndex),
    {
      type: 'BackupFailed',
      data: {
        ...{ backupId, at: at(20), kind: 'export', facts: { disk: diskIndex } },
        reason: `the export of disk ${diskIndex} ended in the middle of the backup: killed by SIGKILL`,
      },
    },
  ];
  for (const [state, history] of Object.entries(open))
    test(`fails a ${state} backup, whichever disk it served`, () => {
      job(...history)
        .when(death(0))
        .thenEvents(...died(0));
      job(...history)
        .when(death(1))
        .thenEvents(...died(1));
    });
  test('fails it also before its start was recorded', () =>
    job(backupStarted())
      .when(death(1))
      .thenEvents(...died(1)));
  test('fails it when only the other disk has arrived', () =>
    job(...histories.running, facts.transferred(0))
      .when(death(1))
      .thenEvents(...died(1)));
  test('is left to its stop once all data is in', () =>
    job(...histories.running, facts.transferred(0), facts.changeId(1))
      .when(death(1))
      .thenNothing());
  test('after its orderly stop is an old story', () =>
    job(...histories.running, facts.exportStopped(1))
      .when(death(1))
      .thenNothing());
  test('of an unknown disk is nobody’s', () =>
    job(...histories.running)
      .when(death(2))
      .thenNothing());
  for (const [state, history] of Object.entries(ended))
    test(`changes nothing for a ${state} backup`, () =>
      job(...history)
        .when(death(0))
        .thenNothing());
});

describe('silence and signs of life', () => {
  test('a running backup stalls, once', () => {
    job(...histories.running)
      .when(stall)
      .thenEvents({ type: 'BackupStalled', data: { ...ref, reason: 'silence' } });
    job(...histories.stalled)
      .when(stall)
      .thenNothing();
  });
  test('a stalled backup goes on, once', () => {
    job(...histories.stalled)
      .when(resume)
      .thenEvents(facts.resumed(100));
    job(...histories.running)
      .when(resume)
      .thenNothing();
    job(...histories.stalled, facts.resumed())
      .when(resume)
      .thenNothing();
  });
  for (const [state, history] of Object.entries(ended))
    test(`no ${state} backup comes back to life`, () => {
      for (const command of [stall, resume, fail, complete, transferred([0, 1], [1, 1])])
        job(...history)
          .when(command)
          .thenNothing();
    });
});

describe('disks arrive', () => {
  test('each once, several at a time', () => {
    job(...histories.running)
      .when(transferred([0, gib], [1, 5]))
      .thenEvents(
        { type: 'DiskTransferred', data: { ...ref, diskIndex: 0, bytesTransferred: gib } },
        { type: 'DiskTransferred', data: { ...ref, diskIndex: 1, bytesTransferred: 5 } },
      );
    job(...histories.running, facts.transferred(0))
      .when(transferred([0, gib]))
      .thenNothing();
  });
  test('a change id says the same', () =>
    job(...histories.running, facts.changeId(1))
      .when(transferred([1, gib]))
      .thenNothing());
  test('a disk that the job does not have cannot', () =>
    job(...histories.running)
      .when(transferred([2, gib]))
      .thenNothing());
  test('also in a stalled backup', () =>
    job(...histories.stalled)
      .when(transferred([1, 0]))
      .thenEvents({ type: 'DiskTransferred', data: { ...ref, diskIndex: 1, bytesTransferred: 0 } }));
});
