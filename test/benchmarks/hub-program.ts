import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type RunningProgram, startProgram } from '../../src/demo/program.ts';
import { type HubApi, openHubApi } from './hub-api.ts';

export type BenchHub = Readonly<{
  program: RunningProgram;
  api: HubApi;
  /** From the start of its process. */
  readyAfterMs: number;
}>;

/** Where a hub's files are, and how it is started again and again on them. */
export type HubPlace = Readonly<{ folder: string; nodeUrl: string; password: string; port: number }>;

const hubDataDir = 'hub';

export const newHubPlace = (place: Readonly<{ folder: string; nodeUrl: string; port?: number }>): HubPlace => ({
  ...{ port: 0, password: randomBytes(12).toString('hex') },
  ...place,
});

/** The hub as it comes, on its embedded stores. The pool of ports has room for a hundred jobs beside other programs. */
const startHubProgram = (place: HubPlace, signal: AbortSignal): Promise<RunningProgram> =>
  startProgram(
    {
      ...{ name: 'hub', args: ['hub'], folder: place.folder, readyFile: join(hubDataDir, 'hub.json') },
      settings: {
        SENDENSE_HTTP: `127.0.0.1:${place.port}`,
        SENDENSE_DATA_DIR: hubDataDir,
        SENDENSE_RESTORE_DIR: join(place.folder, 'restore'),
        SENDENSE_SNA_URL: place.nodeUrl,
        SENDENSE_NBD_PORTS: '21000-21999',
        SENDENSE_ADMIN_PASSWORD: place.password,
      },
    },
    signal,
  );

export const startHub = async (place: HubPlace, signal: AbortSignal): Promise<BenchHub> => {
  const startedAtMs = performance.now();
  const program = await startHubProgram(place, signal);
  const readyAfterMs = performance.now() - startedAtMs;
  try {
    return { program, readyAfterMs, api: await openHubApi(program.url, place.password) };
  } catch (error) {
    await program.stop();
    throw error;
  }
};

const EventStore = z.object({ connection: z.string(), pid: z.number() });

/** The embedded event store of the hub that runs in that folder. */
export const eventStoreOf = async (folder: string): Promise<z.output<typeof EventStore>> =>
  EventStore.parse(JSON.parse(await readFile(join(folder, hubDataDir, 'event-store', 'event-store.json'), 'utf8')));

const Added = z.object({ repository: z.object({ id: z.string() }) });
const Saved = z.object({ credential: z.object({ id: z.number() }) });
const VmsAdded = z.object({ processed_vms: z.array(z.object({ vm_name: z.string(), success: z.boolean() })) });

/** A repository, a credential and VMs; returns the repository's id. */
export const setUpInventory = async (
  api: HubApi,
  { repositoryFolder, vmNames }: Readonly<{ repositoryFolder: string; vmNames: readonly string[] }>,
): Promise<string> => {
  await mkdir(repositoryFolder, { recursive: true });
  const repository = { name: 'Benchmarks', type: 'local', config: { path: repositoryFolder } };
  const { id: repositoryId } = (await api.call('POST /repositories', repository, Added)).repository;
  const credential = {
    ...{ credential_name: 'lab', vcenter_host: 'lab.local', datacenter: 'lab' },
    ...{ username: 'administrator', password: 'nobody asks for it' },
  };
  const saved = await api.call('POST /vmware-credentials', credential, Saved);
  const wanted = { credential_id: saved.credential.id, vm_names: vmNames };
  const { processed_vms } = await api.call('POST /discovery/add-vms', wanted, VmsAdded);
  const failed = processed_vms.find(({ success }) => !success);
  if (failed) throw new Error(`the VM ${failed.vm_name} could not be added`);
  return repositoryId;
};
