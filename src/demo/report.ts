import { styleText } from 'node:util';
import { isVerified } from './judgement.ts';
import { isRestored, isSkipped, type RestoreOutcome } from './restore.ts';
import type { Checked, DemoResult } from './story.ts';
import { counted, inBytes, inSeconds, speed } from './words.ts';

/** How a person at the terminal gets in; only while hub and node serve on. */
export type Access = Readonly<{ url: string; username: string; password: string; vmFolder: string }>;

export type ReportParts = Readonly<{
  result: DemoResult;
  leftovers: readonly string[];
  problems: readonly string[];
  access?: Access;
}>;

const backupToJson = (backup: Checked): object => ({
  backup_id: backup.backupId,
  seconds: rounded(backup.seconds),
  bytes_transferred: backup.bytesTransferred,
  verified: isVerified(backup),
});

const rounded = (seconds: number): number => Math.round(seconds * 1000) / 1000;

/** Null where this host cannot mount, with the reason beside it. */
const restoreToJson = (outcome: RestoreOutcome): object => {
  if (isSkipped(outcome)) return { restore: null, restore_skipped: outcome.skipped };
  const { mountId, driver, seconds, path } = outcome;
  const sha256Match = isRestored(outcome);
  return { restore: { mount_id: mountId, driver, seconds: rounded(seconds), file: path, sha256_match: sha256Match } };
};

/** One object; its keys are a promise to scripts. */
export const reportAsJson = ({ result, leftovers, problems, access }: ReportParts): string =>
  JSON.stringify({
    vm: result.vm.name,
    disks: result.vm.disks.map(({ index, capacityBytes, format }) => ({
      index,
      capacity_bytes: capacityBytes,
      format,
    })),
    full: backupToJson(result.full),
    incremental: backupToJson(result.incremental),
    ...restoreToJson(result.restore),
    events: { total: result.events.total, job_streams: result.events.jobStreams },
    leftovers,
    problems,
    ...(access === undefined ? {} : { url: access.url, username: access.username, password: access.password }),
  });

const bold = (text: string): string => styleText('bold', text, { stream: process.stdout });
const dim = (text: string): string => styleText('dim', text, { stream: process.stdout });
const mark = (good: boolean): string => styleText(good ? 'green' : 'red', good ? '✔' : '✖', { stream: process.stdout });

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

const vmLines = ({ vm: { name, disks } }: DemoResult): readonly string[] => [
  `${bold('VM')}  ${name}: ${counted(disks.length, 'disk')}, ${inBytes(sum(disks.map((disk) => disk.capacityBytes)))}`,
  ...disks.map(
    ({ index, capacityBytes, format, filledBytes }) =>
      `  disk ${index}  ${inBytes(capacityBytes).padStart(9)}  ${format.padEnd(5)}  ext4 with ${inBytes(filledBytes)} of files`,
  ),
];

const columns = (cells: readonly string[]): string =>
  `  ${[(cells[0] ?? '').padEnd(12), ...cells.slice(1).map((cell) => cell.padStart(13))].join('')}`;

const backupLine = (backup: Checked, capacityBytes: number): string => {
  const { type, seconds, bytesTransferred, verdicts } = backup;
  const share = `${((100 * bytesTransferred) / capacityBytes).toFixed(1)} %`;
  const numbers = [inSeconds(seconds), inBytes(bytesTransferred), share, speed(bytesTransferred, seconds)];
  const disks = verdicts.map(({ diskIndex, identical }) => `${mark(identical)} disk ${diskIndex}`);
  return `${columns([type, ...numbers])}   ${disks.join('  ')}`;
};

const backupLines = ({ vm, full, incremental }: DemoResult): readonly string[] => {
  const capacityBytes = sum(vm.disks.map((disk) => disk.capacityBytes));
  return [
    bold('Backups'),
    dim(`${columns(['', 'took', 'moved', 'of capacity', 'speed'])}   identical, byte by byte`),
    ...[full, incremental].map((backup) => backupLine(backup, capacityBytes)),
  ];
};

const changeLines = ({ change, full, incremental }: DemoResult): readonly string[] => {
  const { addedBytes, rewrittenPlaces, rewrittenBytes, zeroedBytes } = change;
  const share = ((100 * incremental.bytesTransferred) / full.bytesTransferred).toFixed(1);
  return [
    bold('Between them'),
    `  a file of ${inBytes(addedBytes)} was added, one deleted and one replaced; ${rewrittenPlaces} places in databases`,
    `  were rewritten (${inBytes(rewrittenBytes)}, ${inBytes(zeroedBytes)} of it with zeroes).`,
    `  The node found it: the incremental backup moved ${share} % of what the full one did.`,
  ];
};

const restoreLines = ({ restore }: DemoResult): readonly string[] => {
  if (isSkipped(restore)) return [`${bold('Files')}  not restored here: ${restore.skipped}`];
  const { path, driver, seconds, inFull, inIncremental } = restore;
  return [
    `${bold('Files')}  ${path} out of both mounted backups (${driver}, ${inSeconds(seconds)} to the file's last byte)`,
    ...[['full', inFull] as const, ['incremental', inIncremental] as const].map(
      ([type, { text, matches, sha256 }]) =>
        `  ${mark(matches)} ${type.padEnd(11)}  "${text}" ${dim(`SHA-256 ${sha256.slice(0, 12)}…`)}`,
    ),
  ];
};

const trailLines = ({ events, incremental, trail }: DemoResult): readonly string[] => [
  `${bold('Events')}  ${counted(events.total, 'event')} in the log, ${counted(events.jobStreams, 'job')}`,
  `  The audit trail of ${incremental.backupId} (GET /api/v1/jobs/${incremental.backupId}/events):`,
  ...trail.map(({ time, actor, text }) => `  ${dim(time.slice(11, 23))}  ${text} ${dim(`(${actor})`)}`),
];

const nextLines = (access: Access | undefined): readonly string[] =>
  access === undefined
    ? [`${bold('Go on')}  ./sendense demo keeps hub and node running for you to look around; README.md tells the rest.`]
    : [
        bold('Go on'),
        `  API to read and to try  ${access.url}/swagger/`,
        `  Sign in                 as ${access.username} with password ${access.password} (POST /api/v1/auth/login)`,
        `  Change the VM           write to the disks in ${access.vmFolder}, then POST /api/v1/backups`,
        '  More                    README.md',
        '',
        'Ctrl-C ends everything and removes all files of the demo.',
      ];

const verdictLine = ({ problems, access }: ReportParts): readonly string[] =>
  problems.length > 0
    ? problems.map((problem) => `${mark(false)} ${problem}`)
    : [
        `${mark(true)} Both backups hold every byte of the VM, and nothing is left behind: no process, port, mount or partial file${
          access === undefined ? '.' : ' of the jobs.'
        }`,
      ];

/** What a person reads. */
export const reportAsText = (parts: ReportParts): string => {
  const { result, access } = parts;
  const sections = [
    ...[vmLines(result), backupLines(result), changeLines(result), restoreLines(result), trailLines(result)],
    ...[verdictLine(parts), nextLines(access)],
  ];
  return `\n${sections.map((lines) => lines.join('\n')).join('\n\n')}\n`;
};
