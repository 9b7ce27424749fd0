import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from '../../src/demo/judgement.ts';
import { reportAsJson, reportAsText } from '../../src/demo/report.ts';
import type { RestoredFile } from '../../src/demo/restore.ts';
import type { Checked, DemoResult } from '../../src/demo/story.ts';

const mib = 1024 ** 2;

const backup = (type: Checked['type'], bytesTransferred: number): Checked => ({
  ...{ backupId: `backup-lab1-${type}`, type, seconds: 2, bytesTransferred, images: ['a', 'b'], ports: [10100, 10101] },
  verdicts: [0, 1].map((diskIndex) => ({ diskIndex, identical: true, detail: '' })),
});

const disk = (index: number): DemoResult['vm']['disks'][number] => ({
  ...{ index, path: `/vms/lab1/disk-${index}`, format: 'raw' as const, databaseRanges: [] },
  ...{ capacityBytes: 100 * mib, filledBytes: 30 * mib },
});

const found = (text: string) => ({ sha256: '0'.repeat(64), text, matches: true });

const restored: RestoredFile = {
  ...{ mountId: 'mount-1', driver: 'fuse', seconds: 0.0614, path: '/etc/motd' },
  ...{ inFull: found('old'), inIncremental: found('new') },
};

const good: DemoResult = {
  vm: { name: 'lab1', folder: '/vms/lab1', datacenter: 'lab', disks: [disk(0), disk(1)] },
  change: {
    ...{ addedBytes: mib, rewrittenPlaces: 4, rewrittenBytes: mib, zeroedBytes: mib / 2 },
    file: { diskIndex: 0, folder: '/etc', name: 'motd', before: 'old', after: 'new' },
  },
  full: backup('full', 60 * mib),
  incremental: backup('incremental', 3 * mib),
  restore: restored,
  events: { total: 60, jobStreams: 2 },
  trail: [{ time: '2026-01-01T10:20:30.400Z', actor: 'user:admin', text: 'Started.' }],
  hubUrl: 'http://127.0.0.1:1',
};

const differing: Checked = {
  ...good.full,
  verdicts: [
    { diskIndex: 0, identical: true, detail: '' },
    { diskIndex: 1, identical: false, detail: 'Content mismatch at offset 512!' },
  ],
};

test('it held only when every disk of both backups is identical, the second was small, and nothing is left', () => {
  assert.deepEqual(judge(good, []), []);
  const wrong: readonly (readonly [DemoResult, readonly string[], RegExp])[] = [
    [{ ...good, full: differing }, [], /disk 1 of the full backup differs.*offset 512/],
    [
      { ...good, incremental: { ...differing, type: 'incremental', bytesTransferred: mib } },
      [],
      /disk 1 of the incremental/,
    ],
    [{ ...good, full: { ...good.full, verdicts: good.full.verdicts.slice(1) } }, [], /not have all disks/],
    [{ ...good, incremental: { ...good.incremental, bytesTransferred: 59 * mib } }, [], /moved/],
    [{ ...good, incremental: { ...good.incremental, bytesTransferred: 0 } }, [], /moved/],
    [{ ...good, incremental: backup('full', mib) }, [], /not incremental/],
    [
      { ...good, restore: { ...restored, inFull: { ...found('x'), matches: false } } },
      [],
      /motd of the full backup is not/,
    ],
    [good, ['process 42: qemu-nbd'], /left over: process 42: qemu-nbd/],
  ];
  for (const [result, leftovers, expected] of wrong) assert.match(judge(result, leftovers).join('\n'), expected);
});

test('scripts read one JSON object that says which backup is not verified', () => {
  const result = { ...good, full: differing };
  const text = reportAsJson({ result, leftovers: [], problems: judge(result, []) });
  assert.equal(text.split('\n').length, 1);
  const report = JSON.parse(text);
  assert.deepEqual(report.full, {
    ...{ backup_id: 'backup-lab1-full', seconds: 2, bytes_transferred: 60 * mib, verified: false },
  });
  assert.equal(report.incremental.verified, true);
  assert.deepEqual(report.disks[0], { index: 0, capacity_bytes: 100 * mib, format: 'raw' });
  assert.deepEqual(report.events, { total: 60, job_streams: 2 });
  assert.deepEqual(report.restore, {
    ...{ mount_id: 'mount-1', driver: 'fuse', seconds: 0.061, file: '/etc/motd', sha256_match: true },
  });
});

test('the report tells a person how to get in while the hub serves, and not afterwards', () => {
  const parts = { result: good, leftovers: [], problems: [] };
  const access = { url: 'http://127.0.0.1:1', username: 'admin', password: 'pass-word', vmFolder: '/vms/lab1' };
  assert.match(reportAsText({ ...parts, access }), /http:\/\/127\.0\.0\.1:1\/swagger\/[\s\S]*pass-word[\s\S]*Ctrl-C/);
  assert.doesNotMatch(reportAsText(parts), /pass-word|Ctrl-C/);
});

test('a host that cannot mount is no failure, and it is told', () => {
  const result = { ...good, restore: { skipped: 'only root may mount' } };
  assert.deepEqual(judge(result, []), []);
  const parts = { result, leftovers: [], problems: [] };
  const { restore, restore_skipped: reason } = JSON.parse(reportAsJson(parts));
  assert.deepEqual([restore, reason], [null, 'only root may mount']);
  assert.match(reportAsText(parts), /not restored here: only root may mount/);
  assert.match(reportAsText({ ...parts, result: good }), /full +"old"[\s\S]*incremental +"new"/);
});
