import { type DiskState, isFinalising, isRunning, type KnownBackup } from '#domain/backup/state.ts';

/** The next things to do for a job. All intents of one answer may be done side by side. */
export type Intent =
  | Readonly<{ do: 'assign-ports'; disks: readonly DiskState[] }>
  | Readonly<{ do: 'create-image'; disk: DiskState }>
  | Readonly<{ do: 'start-export'; disk: DiskState; port: number }>
  | Readonly<{ do: 'request-transfer' }>
  | Readonly<{ do: 'resolve-transfer' }>
  | Readonly<{ do: 'stop-export'; disk: DiskState }>
  | Readonly<{ do: 'release-ports' }>
  | Readonly<{ do: 'reject-image'; disk: DiskState }>
  | Readonly<{ do: 'complete' }>
  | Readonly<{ do: 'cancel-transfer' }>
  | Readonly<{ do: 'delete-image'; disk: DiskState }>
  | Readonly<{ do: 'close' }>
  | Readonly<{ do: 'remove' }>;

const nothing: readonly Intent[] = [];

const owedToStart = (job: KnownBackup): readonly Intent[] => {
  const portless = job.disks.filter((disk) => disk.port === null && disk.export === 'wanted');
  const preparing: readonly Intent[] = [
    ...(portless.length > 0 ? [{ do: 'assign-ports', disks: portless } as const] : []),
    ...job.disks.filter((disk) => disk.image === 'wanted').map((disk) => ({ do: 'create-image', disk }) as const),
    ...job.disks.flatMap((disk) =>
      disk.image === 'created' && disk.export === 'wanted' && disk.port !== null
        ? [{ do: 'start-export', disk, port: disk.port } as const]
        : [],
    ),
  ];
  if (preparing.length > 0) return preparing;
  if (job.transfer === 'wanted') return [{ do: 'request-transfer' }];
  // Seen only after a crash between the request and its answer: nobody knows whether the node has the job.
  return job.transfer === 'requested' ? [{ do: 'resolve-transfer' }] : nothing;
};

const isOver = ({ export: state }: DiskState): boolean => state === 'clean' || state === 'unclean';

const owedToStop = (job: KnownBackup): readonly Intent[] =>
  job.disks.filter((disk) => !isOver(disk)).map((disk) => ({ do: 'stop-export', disk }));

const portsOwed = (job: KnownBackup): readonly Intent[] => (job.portsHeld ? [{ do: 'release-ports' }] : nothing);

/** All data has arrived. Only exports that ended in order make images that can be trusted. */
const owedToComplete = (job: KnownBackup): readonly Intent[] => {
  const stops = owedToStop(job);
  if (stops.length > 0) return stops;
  const spoiled = job.disks.find((disk) => disk.export === 'unclean');
  if (spoiled) return [{ do: 'reject-image', disk: spoiled }];
  // Nobody uses the ports any more, and completing waits for disks: side by side.
  return [...portsOwed(job), { do: 'complete' }];
};

/**
 * Whatever the job took is given back, in the order in which it may still be in use: an image after its export, the ports
 * after all exports. What fails holds up only what depends on it.
 */
const owedAfterFailure = (job: KnownBackup): readonly Intent[] => {
  if (job.transfer === 'requested' || job.transfer === 'accepted') return [{ do: 'cancel-transfer' }];
  const stops = owedToStop(job);
  const freeing: readonly Intent[] = [
    ...stops,
    ...(job.portsHeld && stops.length === 0 ? [{ do: 'release-ports' } as const] : []),
    ...job.disks
      .filter((disk) => isOver(disk) && disk.image !== 'deleted')
      .map((disk) => ({ do: 'delete-image', disk }) as const),
  ];
  return freeing.length > 0 ? freeing : [{ do: 'close' }];
};

/** What is still owed, from recorded facts alone: the same answer before and after a crash. */
export const owed = (job: KnownBackup): readonly Intent[] => {
  if (isRunning(job)) return isFinalising(job) ? owedToComplete(job) : owedToStart(job);
  if (!job.closed && job.status === 'failed') return owedAfterFailure(job);
  if (!job.closed) return job.portsHeld ? portsOwed(job) : [{ do: 'close' }];
  return job.removal === 'requested' ? [{ do: 'remove' }] : nothing;
};
