import { DomainError } from '#domain/errors.ts';
import type { MountedPartition, OpenMount } from './file-restore-ports.ts';
import type { FilePath } from './file-tree-ports.ts';

/** Where a path of a mount leads: to the list of its filesystems, or into one of them. */
export type MountedPath =
  | Readonly<{ kind: 'top'; path: string }>
  | Readonly<{ kind: 'inside'; path: string; partition: MountedPartition; below: FilePath }>;

export const partitionPath = ({ number }: MountedPartition): string => `/partition-${number}`;

const notFound = (): DomainError =>
  new DomainError('file-not-found', 'There is no such file in the backup. List `/` to see its filesystems.');

const invalid = (message: string): DomainError => new DomainError('invalid-request', `Invalid request: ${message}`);

/** `/partition-3`, or as it is shown: `/Partition 3 - Data (100.4 GB)`. */
const partitionNumber = (name: string): number | undefined => {
  const [, real] = /^partition-([1-9]\d*)$/.exec(name) ?? [];
  if (real !== undefined) return Number(real);
  if (!name.startsWith('Partition ')) return undefined;
  const [, shown] = /^Partition (\d+)/.exec(name) ?? [];
  if (shown === undefined) throw invalid('the path names no partition; use /partition-1');
  return Number(shown);
};

const singlePartition = ({ partitions }: OpenMount): MountedPartition => {
  const [only] = partitions;
  if (!only) throw notFound();
  return only;
};

/**
 * Of a path as a client sent it. What it may name is for the file tree to say; here it is taken apart, and a step upwards is refused
 * whatever comes behind it. `path` of the result is the form that further calls use.
 */
export const locate = (mount: OpenMount, requested: string): MountedPath => {
  if (requested.includes('\0')) throw invalid('the path holds a NUL character');
  const steps = requested.split('/').filter((step) => step !== '' && step !== '.');
  if (steps.includes('..'))
    throw new DomainError('path-outside-mount', 'A path must not hold `..`: name the folder itself.');
  if (!mount.partitioned) return inside(singlePartition(mount), '', steps);
  const [first, ...below] = steps;
  if (first === undefined) return { kind: 'top', path: '/' };
  const number = partitionNumber(first);
  const partition = mount.partitions.find((candidate) => candidate.number === number);
  if (!partition) throw notFound();
  return inside(partition, partitionPath(partition), below);
};

const inside = (partition: MountedPartition, prefix: string, below: FilePath): MountedPath => ({
  kind: 'inside',
  path: [prefix, ...below].join('/') || '/',
  partition,
  below,
});

const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];

const sizeInWords = (sizeBytes: number): string => {
  if (sizeBytes < 1024) return `${sizeBytes} B`;
  const power = Math.min(Math.floor(Math.log2(sizeBytes) / 10), units.length - 1);
  return `${(sizeBytes / 1024 ** power).toFixed(1)} ${units[power]}`;
};

/** As people see it; a slash would make two names of it. */
export const partitionName = ({ number, label, sizeBytes }: MountedPartition): string => {
  const shown = label === '' ? '' : ` - ${label.replaceAll('/', '_')}`;
  return `Partition ${number}${shown} (${sizeInWords(sizeBytes)})`;
};
