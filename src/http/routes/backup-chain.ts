import { z } from 'zod';
import { DomainError } from '#domain/errors.ts';
import type { BackupQueries } from '#projections/backup-queries.ts';
import type { vmContextQueries } from '#projections/vm-contexts.ts';
import { type Endpoint, resource } from '../route.ts';
import { diskIndex, filter } from './backup-query.ts';
import { BackupResponse, backupToWire } from './backup-wire.ts';

type Deps = Readonly<{
  backups: Pick<BackupQueries, 'chain' | 'newestRepository'>;
  vmContexts: Pick<ReturnType<typeof vmContextQueries>, 'findByName' | 'find'>;
}>;

const Chain = z.object({
  chain_id: z.string(),
  vm_context_id: z.string(),
  vm_name: z.string(),
  disk_id: z.int(),
  repository_id: z.string(),
  full_backup_id: z.string(),
  backups: z.array(BackupResponse),
  total_size_bytes: z.int(),
  backup_count: z.int(),
});

const ChainQuery = z.object({
  vm_context_id: filter,
  vm_name: filter,
  disk_id: diskIndex,
  repository_id: filter,
});

type ChainRequest = z.output<typeof ChainQuery>;

const readChain = async (deps: Deps, request: ChainRequest): Promise<z.input<typeof Chain>> => {
  const { backups, vmContexts } = deps;
  const { disk_id: index } = request;
  if (request.vm_context_id === undefined && request.vm_name === undefined) {
    throw new DomainError('invalid-request', 'Invalid request: vm_context_id or vm_name is required');
  }
  const [vm] = request.vm_context_id
    ? [await vmContexts.find(request.vm_context_id)]
    : await vmContexts.findByName(request.vm_name ?? '');
  if (!vm && request.vm_context_id === undefined) {
    throw new DomainError('vm-not-found', `no VM named "${request.vm_name}" is managed here`);
  }
  const repositoryId = request.repository_id ?? (vm ? await backups.newestRepository(vm.context_id) : undefined) ?? '';
  const members = vm ? await backups.chain({ vmContextId: vm.context_id, repositoryId, diskIndex: index }) : [];
  const [full] = members;
  if (!vm || !full) {
    const nothing = { chain_id: '', vm_context_id: '', repository_id: '', full_backup_id: '' };
    const vmName = vm?.vm_name ?? request.vm_name ?? '';
    return { ...nothing, vm_name: vmName, disk_id: index, backups: [], total_size_bytes: 0, backup_count: 0 };
  }
  return {
    chain_id: `${vm.context_id}-disk${index}-chain`,
    vm_context_id: vm.context_id,
    vm_name: vm.vm_name,
    disk_id: index,
    repository_id: repositoryId,
    full_backup_id: full.backup_id,
    backups: members.map(backupToWire),
    total_size_bytes: members.reduce((sum, row) => sum + (row.total_bytes || row.bytes_transferred), 0),
    backup_count: members.length,
  };
};

export const chainEndpoints = (deps: Deps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Backups', group: 'E1' });
  return [
    endpoint('GET /backups/chain', {
      summary: 'The newest full backup of a disk and its increments',
      query: ChainQuery,
      reply: Chain,
      errors: ['vm-not-found'],
      handle: ({ query }) => readChain(deps, query),
    }),
    endpoint('GET /backups/:vm_name/chain', {
      summary: 'The same, by the name of the VM',
      query: ChainQuery,
      reply: Chain,
      errors: ['vm-not-found'],
      handle: ({ params, query }) => readChain(deps, { ...query, vm_name: params.vm_name }),
    }),
  ];
};
