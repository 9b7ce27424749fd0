import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BackupEvent } from '#domain/backup/events.ts';
import { narrate } from '#domain/backup/narrate.ts';
import { backupStarted, facts, gib } from '../../support/backup-facts.ts';

describe('the audit trail reads as sentences', () => {
  const expected: readonly (readonly [BackupEvent, RegExp])[] = [
    [backupStarted(), /full backup of pgtest1 \(2 disks\) into repo-local-1760055634\.$/],
    [
      backupStarted({ backupType: 'incremental', parentBackupId: 'backup-x-1' }),
      /incremental .*, based on backup-x-1\.$/,
    ],
    [facts.portsAssigned(10100, 10101), /disk 0 on 10100, disk 1 on 10101/],
    [facts.exportStarted(1), /disk 1 .*pgtest1-disk-2001 on port 10101 \(process 4001\)/],
    [facts.transferred(1, gib), /Disk 1 has arrived \(1024\.0 MiB\)/],
    [facts.exportStopped(0, 'unclean'), /disk 0 \(unclean\)/],
    [facts.failed('client', 'no space left'), /no space left/],
    [facts.removalFailed(), /EACCES/],
  ];
  for (const [event, sentence] of expected) test(event.type, () => assert.match(narrate(event), sentence));

  test('every event has one, with a beginning and an end', () => {
    const all: readonly BackupEvent[] = [
      ...[facts.imageCreated(0), facts.portLost(0, 1), facts.exportDied(0), facts.requested(), facts.accepted()],
      ...[
        facts.stalled(),
        facts.resumed(),
        facts.changeId(0),
        facts.portsReleased(),
        facts.completed(),
        facts.cancelled(),
      ],
      ...[facts.imageDeleted(0), facts.closed(), facts.removalRequested(), facts.removed()],
    ];
    for (const event of all) assert.match(narrate(event), /^[A-Z].*\.$/);
  });
});
