import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { categoryOf, sanitised, stepName } from '#http/routes/job-words.ts';

describe('what jobs say to people', () => {
  test('names neither tools nor files nor devices', () => {
    const texts = {
      'qemu-img: /srv/repo/ctx-a/disk-0/x.qcow2: No space left on device':
        'the disk image tool: [path]: No space left on device',
      "cannot connect to nbd://127.0.0.1:10104/a-disk-2000, '/dev/nbd0' is busy":
        "cannot connect to a disk export '[path]' is busy",
      'migratekit exited with code 1': 'the backup client exited with code 1',
      'read/write errors: 3 and 50/50': 'read/write errors: 3 and 50/50',
    };
    for (const [raw, shown] of Object.entries(texts)) assert.equal(sanitised(raw), shown);
  });

  test('tell where to look', () => {
    const texts = {
      ...{ 'No space left on device': 'storage', 'connect ECONNREFUSED: connection refused': 'connectivity' },
      ...{ 'the credential has no password': 'configuration', 'something else': 'unknown' },
    };
    for (const [raw, category] of Object.entries(texts)) assert.equal(categoryOf(raw), category, raw);
  });

  test('name their steps in words', () => {
    assert.equal(stepName('transferring'), 'Transferring Data');
    assert.equal(stepName('volume-mode_switch'), 'Volume Mode Switch');
  });
});
