/** What jobs say of themselves, for people who neither know nor need the hub's tools and paths. */

/** The part of the environment to look at. */
export type ErrorCategory =
  | 'compatibility'
  | 'network'
  | 'storage'
  | 'platform'
  | 'connectivity'
  | 'configuration'
  | 'unknown';

const steps: Readonly<Record<string, string>> = {
  pending: 'Preparing Backup',
  snapshot: 'Creating Snapshot',
  transferring: 'Transferring Data',
  finalizing: 'Finalizing',
};

/** A phase as people read it; an unknown one by its words, each capitalised. */
export const stepName = (phase: string): string =>
  steps[phase] ??
  phase
    .split(/[-_\s]+/)
    .map((word) => `${word.slice(0, 1).toUpperCase()}${word.slice(1)}`)
    .join(' ');

const plainWords: readonly (readonly [RegExp, string])[] = [
  [/\bnbd(?:\+unix)?:\/\/\S+/gi, 'a disk export'],
  [/\b(?:qemu-nbd|nbdkit|nbdcopy|nbdinfo|nbdfuse)\b/gi, 'the disk transfer'],
  [/\bqemu-img\b/gi, 'the disk image tool'],
  [/\b(?:sendense-backup-client|migratekit)\b/gi, 'the backup client'],
  // After a blank or a quote: `read/write` is no path.
  [/(^|[\s'"`(=:])\/[\w.@+-]+(?:\/[^\s'"`:,;)]*)?/g, '$1[path]'],
];

/** Without internal names of tools, devices and files; the raw text stays in the job's own record. */
export const sanitised = (message: string): string =>
  plainWords.reduce((text, [pattern, words]) => text.replaceAll(pattern, words), message);

const signs: readonly (readonly [ErrorCategory, RegExp])[] = [
  ['storage', /no space|disk full|i\/o error|read-only file system|repository|qcow2|image|snapshot|datastore/i],
  ['connectivity', /refused|unreachable|timed? ?out|did not answer|does not answer|broke|connection/i],
  ['network', /network|dns|name resolution|\bport\b/i],
  ['configuration', /credential|password|login|permission|not allowed|configured/i],
  ['platform', /vcenter|vmware|esxi|cloudstack/i],
  ['compatibility', /not supported|unsupported|incompatible/i],
];

export const categoryOf = (message: string): ErrorCategory =>
  signs.find(([, pattern]) => pattern.test(message))?.[0] ?? 'unknown';
