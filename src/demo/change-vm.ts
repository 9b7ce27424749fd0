import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type DiskRange, filesystemIn, type LabDisk, motd } from './lab-disk.ts';
import type { LabVm } from './lab-vm.ts';
import { randomBytesOf, writeSampleFile } from './sample-data.ts';
import { createTools, type RunTool, ToolFailed } from './tools.ts';

/** A file that can be told apart before and after. */
export type ChangedFile = Readonly<{ diskIndex: number; folder: string; name: string; before: string; after: string }>;

/** What a day's work did to a VM. */
export type VmChange = Readonly<{
  /** A file of this size was added. */
  addedBytes: number;
  /** Places within the databases that were written anew. */
  rewrittenPlaces: number;
  rewrittenBytes: number;
  /** So much of it became zeroes. */
  zeroedBytes: number;
  file: ChangedFile;
}>;

type Work = Readonly<{ folder: string; run: RunTool; signal: AbortSignal }>;

const pageBytes = 256 * 1024;
const mostPages = 64;
const zeroedPartBytes = pageBytes / 2;
// Zeroes over data are what a careless copy leaves out: the old bytes of the base would show through.
const zeroEvery = 4;
const addedShare = 1 / 64;
const blockBytes = 4096;
const changedMotd = 'Changed by the Sendense demo.\n';

/** Every second page of the database, spread so that no two touch. */
const pagesOf = (ranges: readonly DiskRange[]): readonly number[] =>
  ranges
    .flatMap(({ offset, length }) =>
      Array.from({ length: Math.floor(length / pageBytes) }, (_, page) => offset + page * pageBytes),
    )
    .filter((_, index) => index % 2 === 0)
    .slice(0, mostPages);

const isZeroed = (_: number, index: number): boolean => index % zeroEvery === zeroEvery - 1;

/** As a database does: pages written in place, without the filesystem noticing. */
const rewritePages = async (disk: LabDisk, { folder, run, signal }: Work): Promise<readonly number[]> => {
  const pages = pagesOf(disk.databaseRanges);
  const content = `pages-${disk.index}`;
  const file = { path: join(folder, content), sizeBytes: pageBytes, source: randomBytesOf(`${disk.index}/new`) };
  await writeSampleFile(file, signal);
  const commands = pages.flatMap((offset, index) => [
    ...['-c', `write -q -s ${content} ${offset} ${pageBytes}`],
    ...(isZeroed(offset, index) ? ['-c', `write -q -z ${offset + zeroedPartBytes} ${zeroedPartBytes}`] : []),
  ]);
  const { stdout } = await run(['qemu-io', '-f', disk.format, ...commands, disk.path], { folder });
  if (stdout.trim() !== '') throw new ToolFailed('qemu-io', stdout.trim());
  return pages;
};

/** Through the filesystem: a new file, an old one deleted, one replaced. debugfs writes images that nobody has mounted. */
const editFiles = async (disk: LabDisk, addedBytes: number, { folder, run, signal }: Work): Promise<void> => {
  const added = join(folder, '2026.tar');
  const replacement = join(folder, 'motd');
  await writeSampleFile({ path: added, sizeBytes: addedBytes, source: randomBytesOf('2026') }, signal);
  await writeFile(replacement, changedMotd);
  const script = join(folder, 'edits');
  const edits = [
    'cd /srv/archive',
    `write "${added}" 2026.tar`,
    'rm 2024.tar',
    'cd /etc',
    'rm motd',
    `write "${replacement}" motd`,
  ];
  await writeFile(script, `${edits.join('\n')}\n`);
  const { stderr } = await run(['debugfs', '-w', '-f', script, filesystemIn(disk.path)]);
  // It ends with 0 whatever happened, and begins by telling its version.
  const complaint = stderr.split('\n').find((line) => !/^(debugfs \d.*)?$/.test(line));
  if (complaint !== undefined) throw new ToolFailed('debugfs', complaint);
};

/** Changes files of all disks as a guest would, zeroes over data included. Nothing else may write to the VM meanwhile. */
export const changeVm = async ({ disks }: LabVm, scratchFolder: string, signal: AbortSignal): Promise<VmChange> => {
  const folder = await mkdtemp(join(scratchFolder, 'changes-'));
  const work = { folder, signal, run: createTools(signal) };
  try {
    const system = disks.find(({ format }) => format === 'raw');
    const addedBytes = system ? Math.floor((system.capacityBytes * addedShare) / blockBytes) * blockBytes : 0;
    if (system) await editFiles(system, addedBytes, work);
    const pages = (await Promise.all(disks.map((disk) => rewritePages(disk, work)))).flatMap((offsets) =>
      offsets.map((offset, index) => isZeroed(offset, index)),
    );
    return {
      ...{ addedBytes, rewrittenPlaces: pages.length, rewrittenBytes: pages.length * pageBytes },
      zeroedBytes: pages.filter(Boolean).length * zeroedPartBytes,
      file: { diskIndex: system?.index ?? 0, folder: '/etc', name: 'motd', before: motd, after: changedMotd },
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
