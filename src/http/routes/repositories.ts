import { z } from 'zod';
import type { AddedRepository, AddRepositoryInput } from '#commands/add-repository.ts';
import type { IdempotentRequest } from '#commands/idempotent-subject.ts';
import type { MeasureRepositories } from '#commands/measure-repositories.ts';
import type { CommandContext } from '#commands/ports.ts';
import type { RemoveRepository } from '#commands/remove-repository.ts';
import type { TestRepository } from '#commands/test-repository.ts';
import { localConfigOf, repositoryTypeOf } from '#domain/repository/config.ts';
import type { RepositoryQueries } from '#projections/repositories.ts';
import { answer, type Endpoint, resource } from '../route.ts';
import {
  AddBody,
  configOf,
  inputOf,
  RefreshReply,
  Repository,
  refreshToWire,
  repositoryToWire,
  StorageInfo,
  storageInfoToWire,
  TestBody,
  TestReply,
  testToWire,
} from './repository-wire.ts';

export type RepositoryRoutesDeps = Readonly<{
  repositories: Pick<RepositoryQueries, 'list' | 'countBackups'>;
  addRepository: (
    input: AddRepositoryInput,
    context: CommandContext,
    request: IdempotentRequest | undefined,
    signal: AbortSignal,
  ) => Promise<AddedRepository>;
  removeRepository: Pick<RemoveRepository, 'remove'>;
  testRepository: TestRepository;
  measureRepositories: MeasureRepositories;
  /** Waits until the read model has passed the position; headers for the reply. */
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

export const repositoryEndpoints = (deps: RepositoryRoutesDeps): readonly Endpoint[] => {
  const { repositories, testRepository, measureRepositories, settled } = deps;
  const { endpoint } = resource({ tag: 'Repositories', group: 'E2' });

  return [
    endpoint('POST /repositories', {
      summary: 'Adds a repository after its directory was tried',
      body: AddBody,
      audit: {
        ...{ action: 'AddRepository', object: 'repository', id: ['reply.repository.id'] },
        facts: ['name', 'type'],
      },
      dryRun: true,
      status: 201,
      reply: z.object({ success: z.literal(true), repository: Repository }),
      errors: [
        ...(['repository-type-unsupported', 'repository-option-unsupported', 'name-taken'] as const),
        ...(['repository-path-taken', 'repository-unusable', 'idempotency-key-reused'] as const),
      ],
      handle: async ({ body, context, idempotency, signal }) => {
        const request = idempotency && { operation: 'add-repository', requestSha256: idempotency.requestSha256 };
        const { repository, position } = await deps.addRepository(inputOf(body), context(), request, signal);
        const headers = await settled(position);
        const { repositoryId, addedAt } = repository;
        const backupCount = await repositories.countBackups(repositoryId);
        const measured = await measureRepositories.peek(repository, signal);
        const added = { ...repository, createdAt: addedAt, updatedAt: addedAt, backupCount };
        return answer(201, { success: true as const, repository: repositoryToWire(added, measured) }, headers);
      },
    }),
    endpoint('GET /repositories', {
      summary: 'Lists repositories, disabled ones too, each measured now',
      query: z.object({
        type: z.string().optional(),
        enabled: z.enum(['true', 'false']).optional().catch(undefined),
      }),
      reply: z.object({ success: z.literal(true), repositories: z.array(Repository), total: z.int() }),
      handle: async ({ query, signal }) => {
        const enabled = query.enabled === undefined ? undefined : query.enabled === 'true';
        const listed = await repositories.list({ type: query.type, enabled });
        const wire = listed.map(async (each) => repositoryToWire(each, await measureRepositories.peek(each, signal)));
        return { success: true, repositories: await Promise.all(wire), total: listed.length };
      },
    }),
    endpoint('POST /repositories/test', {
      summary: 'Tries a directory as it would be used: made when missing, written to, measured; nothing is kept',
      body: TestBody,
      audit: { action: 'TestDirectory', object: 'repository', facts: ['type'] },
      reply: TestReply,
      errors: ['repository-type-unsupported', 'repository-option-unsupported'],
      handle: ({ body, signal }) => {
        repositoryTypeOf(body.type);
        const config = localConfigOf(configOf(body.config));
        return testToWire(testRepository.testConfig(config, signal), { repositoryId: '', backupCount: 0 });
      },
    }),
    endpoint('POST /repositories/refresh-storage', {
      summary: 'Measures all repositories and records it',
      audit: { action: 'MeasureRepositories', object: 'repository' },
      dryRun: true,
      reply: RefreshReply,
      handle: async ({ context, signal }) => {
        const { results, position } = await measureRepositories.refreshAll(context(), signal);
        const headers = await settled(position);
        const counts = new Map((await repositories.list()).map((each) => [each.repositoryId, each.backupCount]));
        return answer(200, refreshToWire(results, counts), headers);
      },
    }),
    endpoint('GET /repositories/:repository_id/storage', {
      summary: 'Measures one repository and records it',
      reply: StorageInfo,
      errors: ['repository-not-found', 'repository-unreachable'],
      handle: async ({ params, context, signal }) => {
        const { repository_id: id } = params;
        const { measured, path, position } = await measureRepositories.refresh(id, context(), signal);
        const headers = await settled(position);
        const backupCount = await repositories.countBackups(id);
        return answer(200, storageInfoToWire(measured, { path, backupCount }), headers);
      },
    }),
    endpoint('DELETE /repositories/:repository_id', {
      summary: 'Takes a repository without backups out of use; its files stay',
      audit: { action: 'RemoveRepository', object: 'repository', id: ['path.repository_id'] },
      dryRun: true,
      reply: z.object({ success: z.literal(true), message: z.string(), id: z.string() }),
      errors: ['repository-not-found', 'repository-has-backups', 'store-unavailable'],
      handle: async ({ params, context }) => {
        const { position } = await deps.removeRepository.remove(params.repository_id, context());
        const removed = {
          success: true,
          message: 'Repository deleted successfully',
          id: params.repository_id,
        } as const;
        return answer(200, removed, await settled(position));
      },
    }),
    endpoint('POST /repositories/:repository_id/test', {
      summary: 'Tries the directory of a repository',
      audit: { action: 'TestRepository', object: 'repository', id: ['path.repository_id'] },
      reply: TestReply,
      errors: ['repository-not-found'],
      handle: async ({ params, signal }) => {
        const { repository_id: repositoryId } = params;
        const backupCount = await repositories.countBackups(repositoryId);
        return testToWire(testRepository.testStored(repositoryId, signal), { repositoryId, backupCount });
      },
    }),
  ];
};
