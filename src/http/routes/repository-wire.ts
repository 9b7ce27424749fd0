import { z } from 'zod';
import type { AddRepositoryInput } from '#commands/add-repository.ts';
import type { Refreshed } from '#commands/measure-repositories.ts';
import type { TestedStorage } from '#commands/test-repository.ts';
import { DomainError } from '#domain/errors.ts';
import type { GivenConfig, LocalConfig } from '#domain/repository/config.ts';
import { type StorageMeasured, type StorageSpace, usedPercentOf } from '#domain/repository/storage.ts';
import type { ListedRepository } from '#projections/repositories.ts';

/** Further keys belong to types that are not served, or to nobody. */
const Config = z.looseObject({
  path: z.string().nullish(),
  auto_mount: z.boolean().nullish(),
  mount_options: z.union([z.string(), z.array(z.string())]).nullish(),
  description: z.string().nullish(),
});

export const AddBody = z.object({
  name: z.string(),
  type: z.string().min(1),
  config: Config,
  enabled: z.boolean().default(true),
  is_immutable: z.boolean().default(false),
  min_retention_days: z.int().min(0).default(0),
  immutable_config: z.looseObject({}).nullish(),
});

export const TestBody = z.object({ type: z.string().min(1), config: Config });

const bytes = z.int().min(0);
const percent = z.number().min(0).max(100);
const time = z.iso.datetime();

export const StorageInfo = z
  .object({
    repository_id: z.string(),
    ...{ total_bytes: bytes, used_bytes: bytes, available_bytes: bytes, used_percent: percent },
    ...{ backup_count: z.int().min(0), mount_point: z.string(), last_check_at: time },
  })
  .meta({ id: 'StorageInfo' });

export const Repository = z
  .object({
    ...{ id: z.string(), name: z.string(), type: z.string(), enabled: z.boolean() },
    config: z.object({
      ...{ path: z.string(), auto_mount: z.boolean(), mount_options: z.string(), description: z.string() },
    }),
    ...{ is_immutable: z.boolean(), min_retention_days: z.int() },
    storage_info: StorageInfo.nullable().meta({ description: 'null when the storage cannot be reached' }),
    storage: z
      .object({
        ...{ total_bytes: bytes, used_bytes: bytes, available_bytes: bytes, used_percentage: percent },
        last_check_at: time,
      })
      .nullable(),
    ...{ created_at: time, updated_at: time },
  })
  .meta({ id: 'Repository' });

export const TestReply = z.union([
  z.object({
    ...{ success: z.literal(true), message: z.string(), storage_info: StorageInfo },
    storage: z.object({ total_bytes: bytes, available_bytes: bytes, writable: z.boolean() }),
  }),
  z.object({ success: z.literal(false), message: z.string(), error_details: z.string(), error: z.string() }),
]);

export const RefreshReply = z.object({
  ...{ success: z.literal(true), message: z.string(), refreshed_count: z.int(), failed_count: z.int() },
  results: z.array(
    z.union([
      z.object({ id: z.string(), name: z.string(), success: z.literal(true), storage_info: StorageInfo }),
      z.object({ id: z.string(), name: z.string(), success: z.literal(false), error: z.string() }),
    ]),
  ),
});

export const configOf = ({ path, auto_mount, mount_options, description }: z.output<typeof Config>): GivenConfig => ({
  path: path ?? undefined,
  autoMount: auto_mount ?? undefined,
  mountOptions: mount_options ?? undefined,
  description: description ?? undefined,
});

export const inputOf = (body: z.output<typeof AddBody>): AddRepositoryInput => ({
  name: body.name,
  type: body.type,
  config: configOf(body.config),
  enabled: body.enabled,
  immutability: {
    isImmutable: body.is_immutable,
    minRetentionDays: body.min_retention_days,
    hasImmutableConfig: body.immutable_config != null,
  },
});

/** RFC 3339 in whole seconds: some of the clients parse nothing else. */
const timeToWire = (at: string): string => at.replace(/\.\d+Z$/, 'Z');

const configToWire = ({ path, autoMount, mountOptions, description }: LocalConfig) => ({
  ...{ path, auto_mount: autoMount, mount_options: mountOptions, description },
});

const spaceToWire = ({ totalBytes, usedBytes, availableBytes }: StorageSpace) => ({
  ...{ total_bytes: totalBytes, used_bytes: usedBytes, available_bytes: availableBytes },
});

export const storageInfoToWire = (
  measured: StorageMeasured,
  { path, backupCount }: Readonly<{ path: string; backupCount: number }>,
) => ({
  repository_id: measured.repositoryId,
  ...spaceToWire(measured),
  ...{ used_percent: usedPercentOf(measured), backup_count: backupCount },
  ...{ mount_point: path, last_check_at: timeToWire(measured.at) },
});

/** Older clients read `storage`, newer ones `storage_info`. */
export const repositoryToWire = (repository: ListedRepository, measured: StorageMeasured | null) => ({
  ...{ id: repository.repositoryId, name: repository.name, type: repository.type, enabled: repository.enabled },
  config: configToWire(repository.config),
  ...{ is_immutable: false, min_retention_days: 0 },
  storage_info: measured && storageInfoToWire(measured, repository),
  storage: measured && {
    ...spaceToWire(measured),
    ...{ used_percentage: usedPercentOf(measured), last_check_at: timeToWire(measured.at) },
  },
  ...{ created_at: timeToWire(repository.createdAt), updated_at: timeToWire(repository.updatedAt) },
});

/** A directory that cannot be used is an answer, not an error. */
export const testToWire = async (
  test: Promise<TestedStorage>,
  { repositoryId, backupCount }: Readonly<{ repositoryId: string; backupCount: number }>,
): Promise<z.input<typeof TestReply>> => {
  try {
    const tested = await test;
    const { totalBytes, availableBytes, writable, path } = tested;
    return {
      ...{ success: true, message: 'Repository test successful' },
      storage_info: storageInfoToWire({ ...tested, repositoryId }, { path, backupCount }),
      storage: { total_bytes: totalBytes, available_bytes: availableBytes, writable },
    };
  } catch (error) {
    if (!(error instanceof DomainError) || error.code !== 'repository-unusable') throw error;
    return {
      ...{ success: false, message: 'Repository test failed' },
      ...{ error_details: error.message, error: error.message },
    };
  }
};

export const refreshToWire = (
  results: readonly Refreshed[],
  backupCounts: ReadonlyMap<string, number>,
): z.input<typeof RefreshReply> => {
  const refreshed = results.filter(({ ok }) => ok).length;
  return {
    success: true,
    message: `Storage information refreshed for ${refreshed} ${refreshed === 1 ? 'repository' : 'repositories'}`,
    refreshed_count: refreshed,
    failed_count: results.length - refreshed,
    results: results.map((result) => {
      const { repositoryId: id, name } = result;
      if (!result.ok) return { id, name, success: false, error: result.reason };
      const place = { path: result.path, backupCount: backupCounts.get(id) ?? 0 };
      return { id, name, success: true, storage_info: storageInfoToWire(result.measured, place) };
    }),
  };
};
