import type { BackupEvent } from '#domain/backup/events.ts';
import { type BackupState, evolve, isRunning, type KnownBackup } from '#domain/backup/state.ts';
import { type Intent, owed } from './state.ts';

type Foreseen = Readonly<{ says: string; events: readonly BackupEvent[] }>;

const many = (count: number, what: string): string => (count === 1 ? `one ${what}` : `${count} ${what}s`);

/** An intent in words, and what it leaves when it succeeds; ports, pids and sizes are not known before. */
const foreseeOne = (intent: Intent, { backupId, disks }: KnownBackup): Foreseen => {
  const at = '';
  switch (intent.do) {
    case 'assign-ports': {
      const ports = intent.disks.map(({ index }) => ({ diskIndex: index, port: 1 }));
      const says = `leases ${many(ports.length, 'port')} of the pool`;
      return { says, events: [{ type: 'ExportPortsAssigned', data: { backupId, at, ports } }] };
    }
    case 'create-image': {
      const { index: diskIndex, imagePath, base } = intent.disk;
      const says = `makes the image ${imagePath}${base ? `, an overlay on ${base.imagePath}` : ''}`;
      return {
        says,
        events: [{ type: 'DiskImageCreated', data: { backupId, at, diskIndex, imagePath, emptyBytes: 0 } }],
      };
    }
    case 'start-export': {
      const { index: diskIndex, exportName, imagePath } = intent.disk;
      const data = { backupId, at, diskIndex, port: intent.port, pid: 0, exportName, imagePath, sharedConnections: 0 };
      return { says: `serves disk ${diskIndex} as ${exportName}`, events: [{ type: 'DiskExportStarted', data }] };
    }
    case 'request-transfer': {
      const events: readonly BackupEvent[] = [
        { type: 'TransferRequested', data: { backupId, at, nbdTargets: '' } },
        { type: 'TransferAccepted', data: { backupId, at, nodePid: null } },
      ];
      return { says: 'asks the node appliance to copy the data', events };
    }
    case 'resolve-transfer':
      return { says: 'asks the node appliance whether it has the job', events: [] };
    case 'stop-export': {
      const { index: diskIndex } = intent.disk;
      const data = { backupId, at, diskIndex, outcome: 'clean', detail: '' } as const;
      return { says: `ends the export of disk ${diskIndex} in order`, events: [{ type: 'DiskExportStopped', data }] };
    }
    case 'release-ports':
      return { says: 'gives the ports back', events: [{ type: 'ExportPortsReleased', data: { backupId, at } }] };
    case 'reject-image':
      return { says: `rejects the image of disk ${intent.disk.index}, whose export did not end in order`, events: [] };
    case 'complete': {
      const data = { backupId, at, bytesTransferred: 0, totalBytes: 0, disks: [] };
      return { says: 'seals the images and registers the restore point', events: [{ type: 'BackupCompleted', data }] };
    }
    case 'cancel-transfer': {
      const data = { backupId, at, outcome: 'cancelled' } as const;
      return { says: 'tells the node appliance to stop copying', events: [{ type: 'TransferCancelled', data }] };
    }
    case 'delete-image': {
      const { index: diskIndex, imagePath } = intent.disk;
      const data = { backupId, at, diskIndex, imagePath };
      return { says: `deletes the image ${imagePath}`, events: [{ type: 'DiskImageDeleted', data }] };
    }
    case 'close':
      return {
        says: 'closes the job and rolls its telemetry up',
        events: [{ type: 'BackupClosed', data: { backupId, at, performance: null } }],
      };
    case 'remove':
      return {
        says: `deletes ${disks.map(({ imagePath }) => imagePath).join(', ')}, the files beside them and the restore point`,
        events: [{ type: 'BackupRemoved', data: { backupId, at } }],
      };
  }
};

/** A job never owes more rounds than this; a mistake here must not hang a request. */
const maxRounds = 20;

/**
 * What the process manager would do next, as far as it can be known, if every step succeeded: what is owed, then what is owed
 * after that, until the job waits for somebody else.
 */
export const foresee = (state: BackupState): readonly string[] => {
  const sentences: string[] = [];
  let job = state;
  for (let round = 0; round < maxRounds && job.status !== 'none'; round += 1) {
    const known = job;
    const steps = owed(known).map((intent) => foreseeOne(intent, known));
    sentences.push(...steps.map(({ says }) => `The hub ${says}.`));
    const events = steps.flatMap((step) => step.events);
    if (events.length === 0) break;
    job = events.reduce(evolve, job);
  }
  if (isRunning(job) && job.transfer === 'accepted') {
    sentences.push(
      'The node appliance copies the data and reports each disk; the backup is completed with the last one.',
    );
  }
  return sentences;
};
