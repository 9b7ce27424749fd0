import { DomainError } from '#domain/errors.ts';
import { idempotencyKeyDecider } from '#domain/idempotency-key/idempotency-key.ts';
import {
  type GivenConfig,
  type GivenImmutability,
  type LocalConfig,
  localConfigOf,
  type RepositoryType,
  refuseImmutability,
  repositoryNameOf,
  repositoryTypeOf,
} from '#domain/repository/config.ts';
import { type KnownRepository, repositoryDecider, repositoryNotFound } from '#domain/repository/repository.ts';
import type { StorageSpace } from '#domain/repository/storage.ts';
import { streamOf } from '#domain/streams.ts';
import { claimName } from './claim-name.ts';
import { handle, load } from './handle.ts';
import { type IdempotentRequest, idempotentSubject } from './idempotent-subject.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';
import { assertNameAndRootFree, claimNameAndRoot } from './repository-claims.ts';
import type { RepositoryProbe } from './repository-ports.ts';
import type { StorageMeter } from './storage-meter.ts';

export type AddRepositoryInput = Readonly<{
  name: string;
  type: string;
  config: GivenConfig;
  enabled: boolean;
  immutability: GivenImmutability;
}>;

export type AddedRepository = Readonly<{ repository: KnownRepository; position: bigint | undefined }>;

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  meter: StorageMeter;
  paths: Pick<RepositoryProbe, 'realPath'>;
  /** The host whose directories these are. */
  storageNode: string;
}>;

type Wanted = Readonly<{ name: string; type: RepositoryType; enabled: boolean; config: LocalConfig }>;

const wantedOf = (input: AddRepositoryInput): Wanted => {
  const name = repositoryNameOf(input.name);
  const type = repositoryTypeOf(input.type);
  refuseImmutability(input.immutability);
  return { name, type, enabled: input.enabled, config: localConfigOf(input.config) };
};

/**
 * Adds a repository after its directory has been tried. No refused request leaves a repository behind: name and directory
 * are looked at before the test, which makes a missing directory, and claimed after it.
 */
export const createAddRepository =
  (deps: Deps) =>
  async (
    input: AddRepositoryInput,
    context: CommandContext,
    request: IdempotentRequest | undefined,
    signal: AbortSignal,
  ): Promise<AddedRepository> => {
    const wanted = wantedOf(input);
    const ofKey = request ? await idOfKey(deps, wanted.type, request, context) : undefined;
    const existing = ofKey === undefined ? undefined : await findExisting(deps, ofKey);
    if (existing) return { repository: existing, position: undefined };
    const claim = { name: wanted.name, path: wanted.config.path, storageNode: deps.storageNode };
    await assertNameAndRootFree(deps, { ...claim, repositoryId: ofKey });
    const { totalBytes, usedBytes, availableBytes } = await deps.meter.test(wanted.config.path, signal);
    const repositoryId = ofKey ?? (await newId(deps, wanted.type, context));
    await claimNameAndRoot(deps, { ...claim, repositoryId }, context);
    return add(deps, { repositoryId, wanted, storage: { totalBytes, usedBytes, availableBytes } }, context);
  };

type Tested = Readonly<{ repositoryId: string; wanted: Wanted; storage: StorageSpace }>;

const add = async (
  { store, clock, storageNode }: Deps,
  { repositoryId, wanted, storage }: Tested,
  context: CommandContext,
): Promise<AddedRepository> => {
  const { state, position } = await handle(
    store,
    { decider: repositoryDecider, stream: streamOf.repository(repositoryId) },
    { type: 'AddRepository', data: { repositoryId, ...wanted, storageNode, storage, at: clock.now() } },
    context,
  );
  if (state.status === 'none') throw new Error(`${repositoryId} was added and is not there`);
  return { repository: state, position };
};

/** What the first request with this Idempotency-Key made, or is about to make. */
const idOfKey = async (
  deps: Deps,
  type: RepositoryType,
  request: IdempotentRequest,
  context: CommandContext,
): Promise<string> => {
  const { state } = await load(deps.store, idempotencyKeyDecider, streamOf.idempotencyKey(context.commandId));
  const proposed = state.subject ?? (await newId(deps, type, context));
  return idempotentSubject(deps, proposed, request, context);
};

const findExisting = async ({ store }: Deps, repositoryId: string): Promise<KnownRepository | undefined> => {
  const { state } = await load(store, repositoryDecider, streamOf.repository(repositoryId));
  if (state.status === 'removed') throw repositoryNotFound(repositoryId);
  return state.status === 'none' ? undefined : state;
};

/** `repo-<type>-<unix seconds>`: the next second that is free. An id that was claimed once is never given again. */
const newId = async (deps: Deps, type: RepositoryType, context: CommandContext): Promise<string> => {
  const holder = context.commandId;
  const holderLives = async () => true;
  for (let seconds = Math.floor(Date.parse(deps.clock.now()) / 1_000); ; seconds += 1) {
    const name = `repo-${type}-${seconds}`;
    try {
      await claimName(deps, { kind: 'repositoryId', name, holder, holderLives }, context);
      return name;
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'name-taken')) throw error;
    }
  }
};
