import { backupDecider } from '#domain/backup/decide.ts';
import type { BackupDisk } from '#domain/backup/events.ts';
import { backupContextIdFor, backupIdFor, diskKeyOf, exportNameFor, imagePathFor } from '#domain/backup/ids.ts';
import { isRunning } from '#domain/backup/state.ts';
import { DomainError } from '#domain/errors.ts';
import { repositoryDecider } from '#domain/repository/repository.ts';
import { chainOf, headOf, restorePointsDecider } from '#domain/restore-points/decide.ts';
import type { ActiveBackup, BackupType, RestorePointsState } from '#domain/restore-points/events.ts';
import { streamOf } from '#domain/streams.ts';
import { vmContextDecider } from '#domain/vm-context/vm-context.ts';
import type { BackupInventory, RepositoryAccess } from './backup-ports.ts';
import { isFresh } from './claim-name.ts';
import { handle, load } from './handle.ts';
import { type IdempotentRequest, idempotentSubject } from './idempotent-subject.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

export type StartBackupInput = Readonly<{
  vmName: string;
  /** Picks the VM when two vCenters hold the same name. */
  vmContextId?: string;
  repositoryId: string;
  backupType: BackupType;
  policyId?: string;
  tags: Readonly<Record<string, string>>;
}>;

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  inventory: BackupInventory;
  access: RepositoryAccess;
}>;

type Vm = Readonly<{
  contextId: string;
  vmName: string;
  vmPath: string;
  credentialId: number;
  disks: readonly Readonly<{ index: number; key: number; capacityBytes: number; originalPath: string }>[];
}>;

type Target = Readonly<{ repositoryId: string; path: string }>;

const gib = 1024 ** 3;

const findVm = async (deps: Deps, input: StartBackupInput): Promise<Vm> => {
  const ids = input.vmContextId ? [input.vmContextId] : await deps.inventory.vmContextIdsNamed(input.vmName);
  const [contextId, another] = ids;
  if (another) {
    throw new DomainError('vm-name-ambiguous', `several VMs are named "${input.vmName}"; name one by vm_context_id`, {
      vmContextIds: ids,
    });
  }
  const vm = contextId ? (await load(deps.store, vmContextDecider, streamOf.vmContext(contextId))).state : undefined;
  if (vm?.status !== 'managed' || vm.vmName !== input.vmName) {
    throw new DomainError('vm-not-found', `no VM named "${input.vmName}" is managed here; add it by discovery first`, {
      vmName: input.vmName,
    });
  }
  if (vm.credentialId === null || !(await deps.inventory.credentialExists(vm.credentialId))) {
    throw new DomainError(
      vm.credentialId === null ? 'vm-without-credential' : 'credential-not-found',
      `"${vm.vmName}" has no usable credential_id; add the VM again with a saved vCenter credential`,
      { vmContextId: vm.contextId },
    );
  }
  return { ...vm, credentialId: vm.credentialId, disks: orderDisks(vm.vmName, vm.disks) };
};

type DiscoveredDisk = Readonly<{ diskId: string; capacityBytes: number; sizeGb: number; vmdkPath: string }>;

/** In the order of VMware's keys: position is the disk's index, the key is what the client looks up. */
const orderDisks = (vmName: string, discovered: readonly DiscoveredDisk[]): Vm['disks'] => {
  if (discovered.length === 0) {
    throw new DomainError('vm-without-disks', `"${vmName}" has no discovered disks; discover it again`, { vmName });
  }
  const ordered = discovered.toSorted((a, b) => placeOf(a) - placeOf(b));
  const keys = uniqueKeys(ordered);
  return ordered.map((disk, index) => {
    const capacityBytes = disk.capacityBytes > 0 ? disk.capacityBytes : disk.sizeGb * gib;
    if (capacityBytes <= 0) {
      throw new DomainError('disk-without-size', `${disk.diskId} of "${vmName}" has no size; discover it again`, {
        disk: disk.diskId,
      });
    }
    return { index, key: keys[index] as number, capacityBytes, originalPath: disk.vmdkPath };
  });
};

const placeOf = ({ diskId }: DiscoveredDisk): number => diskKeyOf(diskId) ?? Number.MAX_SAFE_INTEGER;

/** Two disks with one key would be written into one image: a disk whose id tells no key, or a used one, gets a free one. */
const uniqueKeys = (ordered: readonly DiscoveredDisk[]): readonly number[] => {
  const told = new Set(ordered.map(placeOf));
  const used = new Set<number>();
  return ordered.map(({ diskId }, index) => {
    let key = diskKeyOf(diskId);
    if (key === undefined || used.has(key)) for (key = 2000 + index; used.has(key) || told.has(key); ) key += 1;
    used.add(key);
    return key;
  });
};

const findTarget = async (deps: Deps, repositoryId: string): Promise<Target> => {
  const { state } = await load(deps.store, repositoryDecider, streamOf.repository(repositoryId));
  if (state.status === 'none' || state.status === 'removed') {
    throw new DomainError('repository-not-found', `there is no repository ${repositoryId}`, { repositoryId });
  }
  if (!state.enabled || state.status === 'removing') {
    throw new DomainError('repository-disabled', `repository "${state.name}" does not take backups now`, {
      repositoryId,
    });
  }
  await deps.access.assertWritable(state.path).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new DomainError(
      'repository-unreachable',
      `repository "${state.name}" cannot be written to: ${reason}`,
      {},
      { cause },
    );
  });
  return { repositoryId, path: state.path };
};

/** A slot that a hub claimed and died with, or whose job has ended meanwhile, is free. */
const endedHolder = async (deps: Deps, { active }: RestorePointsState): Promise<string | undefined> => {
  if (!active) return undefined;
  const { state } = await load(deps.store, backupDecider, streamOf.backup(active.backupId));
  if (state.status === 'none') return isFresh(active.admittedAt, deps.clock.now()) ? undefined : active.backupId;
  return isRunning(state) ? undefined : active.backupId;
};

/** Images of the chains that the increments would build on and that somebody deleted. */
const missingImages = async (deps: Deps, state: RestorePointsState, vm: Vm, repositoryId: string) => {
  const chains = vm.disks.flatMap(({ index }) => {
    const head = headOf(state, repositoryId, index);
    return head ? chainOf(state, head.point, index) : [];
  });
  const found = await Promise.all(
    chains.map(async ({ imagePath }) => ({ imagePath, exists: await deps.access.imageExists(imagePath) })),
  );
  return found.filter(({ exists }) => !exists).map(({ imagePath }) => imagePath);
};

/** Takes the VM's slot, which only one running backup has, and fixes what an increment is based on. */
const admit = async (
  deps: Deps,
  request: Readonly<{ backupId: string; vm: Vm; target: Target; backupType: BackupType }>,
  context: CommandContext,
): Promise<ActiveBackup> => {
  const { backupId, vm, target, backupType } = request;
  const decider = restorePointsDecider(vm.contextId);
  const stream = streamOf.restorePoints(vm.contextId);
  const loaded = await load(deps.store, decider, stream);
  const { state } = loaded;
  const ended = await endedHolder(deps, state);
  const at = deps.clock.now();
  const admitted = await handle(
    deps.store,
    { decider, stream, loaded },
    {
      type: 'AdmitBackup',
      data: {
        ...{ vmContextId: vm.contextId, backupId, repositoryId: target.repositoryId, backupType, at },
        requestId: context.commandId,
        newContextId: backupContextIdFor(vm.vmName, unixSeconds(at)),
        diskIndexes: vm.disks.map(({ index }) => index),
        missingImages: backupType === 'incremental' ? await missingImages(deps, state, vm, target.repositoryId) : [],
        ...(ended === undefined ? {} : { endedBackupId: ended }),
      },
    },
    context,
  );
  const { active } = admitted.state;
  if (active?.backupId !== backupId) throw new Error(`${backupId} was admitted and is not active`);
  return active;
};

const unixSeconds = (at: string): number => Math.floor(Date.parse(at) / 1000);

/** One id per second and VM: the next second that is free. */
const freeBackupId = async (deps: Deps, vmName: string) => {
  for (let seconds = unixSeconds(deps.clock.now()); ; seconds += 1) {
    const backupId = backupIdFor(vmName, seconds);
    const loaded = await load(deps.store, backupDecider, streamOf.backup(backupId));
    if (loaded.state.status === 'none') return { backupId, loaded };
  }
};

/** The second in the id, not the clock's: ids are unique, and so are the files that carry it. */
const secondOf = (backupId: string): string =>
  new Date(Number(backupId.slice(backupId.lastIndexOf('-') + 1)) * 1000).toISOString();

const disksFor = (vm: Vm, target: Target, active: ActiveBackup): readonly BackupDisk[] => {
  const at = secondOf(active.backupId);
  return vm.disks.map((disk) => {
    const base = active.bases.find(({ index }) => index === disk.index) ?? null;
    const place = { rootPath: target.path, vmContextId: vm.contextId, vmName: vm.vmName, diskIndex: disk.index, at };
    return {
      ...disk,
      // An overlay must not be smaller than its parent, even if the disk shrank.
      capacityBytes: Math.max(disk.capacityBytes, base?.virtualSizeBytes ?? 0),
      exportName: exportNameFor(vm.vmName, disk.key),
      imagePath: imagePathFor(place),
      base,
    };
  });
};

/**
 * The removal of a repository begins with an event and then counts backups: a backup that came after that event was not
 * counted, so it looks again once it is recorded, and goes no further.
 */
const failIfRepositoryGoes = async (
  deps: Deps,
  repositoryId: string,
  backupId: string,
  context: CommandContext,
): Promise<void> => {
  const { state } = await load(deps.store, repositoryDecider, streamOf.repository(repositoryId));
  if (state.status === 'active') return;
  const reason = 'the repository is being removed';
  const target = { decider: backupDecider, stream: streamOf.backup(backupId) };
  const data = { backupId, kind: 'repository', reason, at: deps.clock.now() } as const;
  await handle(deps.store, target, { type: 'FailBackup', data }, context);
};

/**
 * Admits and records a backup of all disks of one VM; the process manager does the rest. All checks that need no resource
 * come first, so a refusal leaves nothing behind.
 */
export const createStartBackup =
  (deps: Deps) =>
  async (
    input: StartBackupInput,
    context: (correlationId: string) => CommandContext,
    request: IdempotentRequest | undefined,
  ): Promise<Readonly<{ backupId: string; position: bigint | undefined }>> => {
    const findingTarget = findTarget(deps, input.repositoryId);
    // Looked for beside the VM; when both are wrong, the VM is told first.
    findingTarget.catch(() => undefined);
    const vm = await findVm(deps, input);
    const target = await findingTarget;
    if (input.policyId !== undefined) {
      throw new DomainError('policy-not-found', `there is no policy ${input.policyId}`, { policyId: input.policyId });
    }
    const free = await freeBackupId(deps, vm.vmName);
    const backupId = await idempotentSubject(deps, free.backupId, request, context(free.backupId));
    const command = context(backupId);
    const stream = streamOf.backup(backupId);
    const loaded = backupId === free.backupId ? free.loaded : await load(deps.store, backupDecider, stream);
    if (loaded.state.status !== 'none') return { backupId, position: undefined };
    const active = await admit(deps, { backupId, vm, target, backupType: input.backupType }, command);
    const at = deps.clock.now();
    const { state, position } = await handle(
      deps.store,
      { decider: backupDecider, stream, loaded },
      {
        type: 'StartBackup',
        data: {
          ...{ backupId, vmContextId: vm.contextId, vmName: vm.vmName, vmPath: vm.vmPath, at },
          ...{ backupContextId: active.backupContextId, credentialId: vm.credentialId },
          ...{ repositoryId: target.repositoryId, repositoryPath: target.path, backupType: input.backupType },
          ...{ parentBackupId: active.parentBackupId, policyId: null, tags: input.tags },
          disks: disksFor(vm, target, active),
        },
      },
      command,
    );
    if (state.status !== 'none' && state.vmContextId !== vm.contextId) {
      await abandon(deps, vm.contextId, backupId, command);
      throw new DomainError('backup-already-running', `another VM of that name took ${backupId}; ask again`, {
        backupId,
      });
    }
    await failIfRepositoryGoes(deps, target.repositoryId, backupId, command);
    return { backupId, position };
  };

/** Gives the VM's slot back without a restore point. */
export const abandon = async (
  { store, clock }: Readonly<{ store: EventStore; clock: Clock }>,
  vmContextId: string,
  backupId: string,
  context: CommandContext,
): Promise<void> => {
  await handle(
    store,
    { decider: restorePointsDecider(vmContextId), stream: streamOf.restorePoints(vmContextId) },
    { type: 'AbandonBackup', data: { vmContextId, backupId, at: clock.now() } },
    context,
  );
};
