/** Naming rules that the backup client and people on the disk rely on. Pure: the caller supplies the time. */

/** What may stand in ids, exports and file names; everything else becomes a dash. */
const safe = (text: string): string => text.replaceAll(/[^A-Za-z0-9._-]/g, '-');

/** The id's limit on the wire and in tables. */
const maxIdLength = 64;

/** The client takes a disk index from the first `-disk<digits>-` in a job id: a VM's name must not look like one. */
const withoutDiskIndex = (name: string): string => name.replaceAll(/-disk(\d)/g, '-disk_$1');

/** `backup-<vm>-<unix seconds>`, at most 64 characters. The prefix makes the client use the backup API. */
export const backupIdFor = (vmName: string, unixSeconds: number): string => {
  const suffix = `-${unixSeconds}`;
  const name = withoutDiskIndex(safe(vmName));
  return `backup-${name.slice(0, maxIdLength - 'backup-'.length - suffix.length)}${suffix}`;
};

/** `ctx-backup-<vm>-<unix seconds>`: the history of one VM in one repository. */
export const backupContextIdFor = (vmName: string, unixSeconds: number): string =>
  `ctx-backup-${safe(vmName).slice(0, 42)}-${unixSeconds}`;

/** `2026-11-22T02:16:05.120Z` to `20261122-021605`. */
export const compactTime = (at: string): string =>
  `${at.slice(0, 10).replaceAll('-', '')}-${at.slice(11, 19).replaceAll(':', '')}`;

/** `backup-<vm>-disk<i>-<YYYYMMDD-HHMMSS>`: names one disk's image; telemetry may use it as a job id. */
export const diskBackupIdFor = (vmName: string, diskIndex: number, at: string): string => {
  const suffix = `-disk${diskIndex}-${compactTime(at)}`;
  return `backup-${withoutDiskIndex(safe(vmName)).slice(0, maxIdLength - 'backup-'.length - suffix.length)}${suffix}`;
};

/** `<vm>-disk-<key>`, at most 63 characters (a label on the client's side). */
export const exportNameFor = (vmName: string, key: number): string => {
  const suffix = `-disk-${key}`;
  return `${safe(vmName).slice(0, 63 - suffix.length)}${suffix}`;
};

/** The number in a discovered disk id (`disk-2000`); undefined when there is none. */
export const diskKeyOf = (diskId: string): number | undefined => {
  const digits = /^disk-(\d+)$/.exec(diskId)?.[1];
  return digits === undefined ? undefined : Number(digits);
};

/** Folder and file of one disk's image below a repository's root. */
export const imagePathFor = (
  place: Readonly<{ rootPath: string; vmContextId: string; vmName: string; diskIndex: number; at: string }>,
): string => {
  const file = `${diskBackupIdFor(place.vmName, place.diskIndex, place.at)}.qcow2`;
  return `${place.rootPath.replace(/\/+$/, '')}/${safe(place.vmContextId)}/disk-${place.diskIndex}/${file}`;
};

/** The id that a path made by `imagePathFor` is named for. */
export const diskBackupIdOf = (imagePath: string): string =>
  imagePath.slice(imagePath.lastIndexOf('/') + 1).replace(/\.qcow2$/, '');

/** The name of an export process: the same before and after a crash. */
export const exportIdFor = (backupId: string, diskIndex: number): string => `${backupId}-disk${diskIndex}`;

/** The folder of an absolute path. */
export const folderOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 1));
