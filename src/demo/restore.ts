import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Api } from './api.ts';
import type { BackedUp } from './backup.ts';
import type { ChangedFile } from './change-vm.ts';

/** One file as it is in one backup. */
export type FoundFile = Readonly<{ sha256: string; text: string; matches: boolean }>;

export type RestoredFile = Readonly<{
  /** Of the incremental backup. */
  mountId: string;
  driver: string;
  /** From the request for a mount to the last byte of the file, of the incremental backup. */
  seconds: number;
  path: string;
  inFull: FoundFile;
  inIncremental: FoundFile;
}>;

/** Mounting takes rights that not everybody has: then the reason stands here. */
export type RestoreOutcome = RestoredFile | Readonly<{ skipped: string }>;

const Resources = z.object({ driver: z.string().nullable(), driver_reason: z.string() });
const Mount = z.object({
  mount_id: z.string(),
  driver: z.string(),
  status: z.string(),
  partition_metadata: z.string().optional(),
});
const Mounts = z.object({ mounts: z.array(z.object({ mount_id: z.string() })) });
const Files = z.object({ files: z.array(z.object({ name: z.string(), path: z.string(), size: z.number() })) });

const unmountTimeoutMs = 20_000;

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

type Mounted = z.output<typeof Mount>;

const query = (path: string): string => `path=${encodeURIComponent(path)}`;

/** As a person would: look into the folder, find the file, download it. */
const fetchFile = async (api: Api, mount: Mounted, { folder, name }: ChangedFile): Promise<Uint8Array> => {
  const root = mount.partition_metadata === undefined ? '' : '/partition-1';
  const { files } = await api.get(`/restore/${mount.mount_id}/files?${query(`${root}${folder}`)}`, Files);
  const found = files.find((file) => file.name === name);
  if (!found) throw new Error(`${folder} of the mounted backup has no ${name}`);
  const bytes = await api.download(`/restore/${mount.mount_id}/download?${query(found.path)}`);
  if (bytes.length !== found.size) throw new Error(`${found.path} has ${found.size} bytes, and ${bytes.length} came`);
  return bytes;
};

const judge = (bytes: Uint8Array, expected: string): FoundFile => ({
  sha256: sha256(bytes),
  text: new TextDecoder().decode(bytes).trim(),
  matches: sha256(bytes) === sha256(expected),
});

const mountDisk = (api: Api, { backupId }: BackedUp, diskIndex: number): Promise<Mounted> =>
  api.post('/restore/mount', { backup_id: backupId, disk_index: diskIndex }, Mount);

/** All of them, whoever mounted: also one whose answer never came. The demo's own end must not keep it from that. */
const unmountAll = async (api: Api): Promise<void> => {
  const own = api.under(AbortSignal.timeout(unmountTimeoutMs));
  const { mounts } = await own.get('/restore/mounts', Mounts);
  for (const { mount_id: mountId } of mounts) await own.remove(`/restore/${mountId}`);
};

const readBoth = async (
  api: Api,
  { full, incremental }: Readonly<{ full: BackedUp; incremental: BackedUp }>,
  file: ChangedFile,
): Promise<RestoredFile> => {
  const startedAtMs = performance.now();
  const mount = await mountDisk(api, incremental, file.diskIndex);
  const newer = await fetchFile(api, mount, file);
  const seconds = (performance.now() - startedAtMs) / 1000;
  const older = await fetchFile(api, await mountDisk(api, full, file.diskIndex), file);
  return {
    ...{ mountId: mount.mount_id, driver: mount.driver, seconds, path: `${file.folder}/${file.name}` },
    inFull: judge(older, file.before),
    inIncremental: judge(newer, file.after),
  };
};

/** Takes a file that changed between two backups out of both. */
export const restoreFile = async (
  api: Api,
  backups: Readonly<{ full: BackedUp; incremental: BackedUp }>,
  file: ChangedFile,
): Promise<RestoreOutcome> => {
  const { driver, driver_reason: reason } = await api.get('/restore/resources', Resources);
  if (driver === null) return { skipped: reason };
  let restored: RestoredFile;
  try {
    restored = await readBoth(api, backups, file);
  } catch (error) {
    // The first reason is the one to tell; what stays mounted is ended with the demo.
    await unmountAll(api).catch(() => undefined);
    throw error;
  }
  await unmountAll(api);
  return restored;
};

export const isSkipped = (outcome: RestoreOutcome): outcome is Readonly<{ skipped: string }> => 'skipped' in outcome;

export const isRestored = (outcome: RestoreOutcome): boolean =>
  !isSkipped(outcome) && outcome.inFull.matches && outcome.inIncremental.matches;
