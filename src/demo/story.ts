import { join } from 'node:path';
import { z } from 'zod';
import { type Api, signIn } from './api.ts';
import { type Appliances, type AppliancesSpec, startAppliances } from './appliances.ts';
import { type BackedUp, type BackupProgress, type BackupType, backUp } from './backup.ts';
import { type ChangedFile, changeVm, type VmChange } from './change-vm.ts';
import { type Display, StepFailed } from './display.ts';
import { countEvents, type EventCount } from './event-log.ts';
import { type Inventory, setUpInventory } from './inventory.ts';
import { type LabVm, makeLabVm } from './lab-vm.ts';
import { untilChangesAreTracked } from './node-tracking.ts';
import type { Bar } from './progress-bar.ts';
import { isRestored, isSkipped, type RestoreOutcome, restoreFile } from './restore.ts';
import { copyDisks, type Reference, type Verdict, verifyBackup } from './verify.ts';
import { counted, inBytes, speed } from './words.ts';

export type Checked = BackedUp & Readonly<{ verdicts: readonly Verdict[] }>;
export type TrailEntry = Readonly<{ time: string; actor: string; text: string }>;

/** What came of the demo. */
export type DemoResult = Readonly<{
  vm: LabVm;
  change: VmChange;
  full: Checked;
  incremental: Checked;
  restore: RestoreOutcome;
  events: EventCount;
  /** The incremental backup's audit trail. */
  trail: readonly TrailEntry[];
  hubUrl: string;
}>;

export type Stage = Readonly<{
  folder: string;
  sizeBytes: number;
  display: Display;
  /** Aborted by whoever wants everything to end, also by a step that failed beside another. */
  stop: AbortController;
}> &
  Pick<AppliancesSpec, 'adminPassword' | 'login' | 'onStarted'>;

export const adminName = 'admin';
export const vmsFolderOf = (folder: string): string => join(folder, 'vms');
const vmName = 'pgtest1';

type Cast = Readonly<{ stage: Stage; vm: LabVm; appliances: Appliances; api: Api; inventory: Inventory }>;

const Trail = z.object({ events: z.array(z.object({ time: z.string(), actor: z.string(), text: z.string() })) });

/** When one fails the other is stopped; when this settles neither is at work. */
const sideBySide = async <A, B>(
  stop: AbortController,
  first: Promise<A>,
  second: Promise<B>,
): Promise<readonly [A, B]> => {
  for (const work of [first, second]) work.catch((error: unknown) => stop.abort(error));
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value];
  const reasons: readonly unknown[] = [a, b].flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  throw reasons.find((reason) => reason instanceof StepFailed) ?? stop.signal.reason;
};

const makeVm = ({ folder, sizeBytes, display, stop }: Stage): Promise<LabVm> =>
  display.step(
    `Make a VM with two disks of ${inBytes(sizeBytes)} together`,
    () => makeLabVm({ root: vmsFolderOf(folder), name: vmName, sizeBytes, scratchFolder: folder }, stop.signal),
    ({ name, disks }) => `${name}, ${inBytes(disks.reduce((sum, disk) => sum + disk.filledBytes, 0))} of files on ext4`,
  );

const start = (stage: Stage): Promise<Appliances> =>
  stage.display.step(
    'Start a hub with its own event store and PostgreSQL, and a node',
    () => startAppliances({ ...stage, vmsFolder: vmsFolderOf(stage.folder) }, stage.stop.signal),
    ({ hub }) => hub.url,
  );

const setUp = ({ display, folder, login }: Stage, api: Api, { name, datacenter }: LabVm): Promise<Inventory> =>
  display.step('Add a repository, a credential and the VM', () =>
    setUpInventory(api, { vmName: name, datacenter, login, repositoryFolder: join(folder, 'repository') }),
  );

const barsOf = ({ phase, disks }: BackupProgress): readonly Bar[] =>
  disks.map(({ index, percent, bytesTransferred, status }) => ({
    ...{ label: `disk ${index}`, percent, bytes: bytesTransferred },
    phase: status === 'completed' ? status : phase,
  }));

const runBackup = ({ stage, vm, api, inventory }: Cast, type: BackupType): Promise<BackedUp> =>
  stage.display.step(
    type === 'full' ? 'Full backup of both disks from one snapshot' : 'Incremental backup of what changed',
    (show) =>
      backUp({ api, signal: stage.stop.signal }, { vmName: vm.name, ...inventory, type }, (progress) =>
        show(barsOf(progress)),
      ),
    ({ bytesTransferred, seconds }) => `${inBytes(bytesTransferred)}, ${speed(bytesTransferred, seconds)}`,
  );

const change = ({ stage, vm }: Cast): Promise<VmChange> =>
  stage.display.step(
    'Change files on both disks',
    () => changeVm(vm, stage.folder, stage.stop.signal),
    ({ addedBytes, rewrittenBytes }) => `${inBytes(addedBytes)} added, ${inBytes(rewrittenBytes)} rewritten in place`,
  );

const isIdentical = ({ identical }: Verdict): boolean => identical;

const compare = ({ stage }: Cast, backup: BackedUp, references: readonly Reference[]): Promise<Checked> =>
  stage.display.step(
    `Compare every byte of the ${backup.type} backup with the disks`,
    async () => ({ ...backup, verdicts: await verifyBackup(backup.images, references, stage.stop.signal) }),
    ({ verdicts }) => (verdicts.every(isIdentical) ? `${counted(verdicts.length, 'disk')} identical` : 'NOT identical'),
  );

const restore = (
  { stage, api }: Cast,
  backups: Readonly<{ full: BackedUp; incremental: BackedUp }>,
  file: ChangedFile,
) =>
  stage.display.step(
    `Mount both backups and download ${file.folder}/${file.name} from each`,
    () => restoreFile(api, backups, file),
    (outcome) => {
      if (isSkipped(outcome)) return `left out: ${outcome.skipped}`;
      return isRestored(outcome) ? `as it was each time, ${outcome.driver}` : 'NOT as it was';
    },
  );

/** The disks are compared when both backups are done: the second must not have changed what the first one holds. */
const perform = async (cast: Cast): Promise<Omit<DemoResult, 'events' | 'trail' | 'hubUrl'>> => {
  const { stage, vm, appliances } = cast;
  const { signal } = stage.stop;
  const before = await stage.display.step('Switch on change tracking, and keep a copy to compare with', async () => {
    const copies = copyDisks(vm.disks, join(stage.folder, 'before'), signal);
    const [, references] = await sideBySide(stage.stop, untilChangesAreTracked(appliances.node.url, signal), copies);
    return references;
  });
  const full = await runBackup(cast, 'full');
  const changed = await change(cast);
  const incremental = await runBackup(cast, 'incremental');
  const restored = await restore(cast, { full, incremental }, changed.file);
  return {
    ...{ vm, change: changed, restore: restored },
    // After the mounts: they must not have touched a byte.
    full: await compare(cast, full, before),
    // Nobody has written to the disks since: they are their own reference.
    incremental: await compare(cast, incremental, vm.disks),
  };
};

/** From nothing to two verified backups. */
export const tellStory = async (stage: Stage): Promise<DemoResult> => {
  const [vm, appliances] = await sideBySide(stage.stop, makeVm(stage), start(stage));
  const { url } = appliances.hub;
  const api = await signIn(url, { username: adminName, password: stage.adminPassword }, stage.stop.signal);
  const inventory = await setUp(stage, api, vm);
  const performed = await perform({ stage, vm, appliances, api, inventory });
  const { events } = await api.get(`/jobs/${performed.incremental.backupId}/events`, Trail);
  const trail = events.map(({ text, ...entry }) => ({ ...entry, text: text.replaceAll(`${stage.folder}/`, '') }));
  return { ...performed, trail, events: await countEvents(stage.folder), hubUrl: url };
};
