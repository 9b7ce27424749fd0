import { createCredentialLogins } from '#commands/credential-login.ts';
import { createDryRunStore, type DryRunStore } from '#commands/dry-run-store.ts';
import { load } from '#commands/handle.ts';
import { createNbdLeases } from '#commands/nbd-leases.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import { prefixOf, streamOf } from '#domain/streams.ts';
import type { DryRun } from '#http/dry-run.ts';
import type { Endpoint } from '#http/route.ts';
import { foresee } from '#process-managers/backup-runner/foresee.ts';
import { occupiedPorts } from '#process-managers/backup-runner/start-steps.ts';
import { foreseeDiskRestores } from '#process-managers/disk-restores/foresee.ts';
import { createNbdExports } from '#process-managers/nbd-exports.ts';
import { type DryRunEffects, dryExporter, dryStorage, dryVault } from './dry-run-ports.ts';
import { type EndpointDeps, recordEndpoints } from './endpoints.ts';
import { clock } from './services.ts';

/** The command is through: what the handler would do from here on is wait for others and make up its reply. */
class CommandDone extends Error {
  constructor() {
    super('the dry run has seen what it came for');
    this.name = 'CommandDone';
  }
}

/** The services of the hub with every port that has effects replaced; what only reads stays. */
const dryServices = (services: EndpointDeps['services'], store: DryRunStore, effects: DryRunEffects) => {
  const { probe, pool, resolveImage } = services;
  const exporter = dryExporter(services.exporter, effects);
  const secrets = dryVault(services.secrets, effects);
  const leases = createNbdLeases({
    ...{ store, clock, pool },
    occupiedPorts: (leased, wanted) => occupiedPorts({ probe, pool }, leased, wanted),
    servedPorts: async () => new Set((await exporter.list()).map(({ port }) => port)),
  });
  const nbdExports = createNbdExports({ store, clock, exporter, leases, resolveImage });
  return {
    ...{ ...services, exporter, secrets, leases, storage: dryStorage(services.storage, effects) },
    logins: createCredentialLogins({ store, vault: secrets, clock }),
    nbdExports: {
      ...nbdExports,
      // The reply shows a pid, and there is none.
      start: async (...request: Parameters<typeof nbdExports.start>): Promise<never> => {
        await nbdExports.start(...request);
        throw new CommandDone();
      },
    },
  };
};

/** The job as the command left it; when the handler would have to wait for more, the command is done. */
const awaitJobIn =
  (store: DryRunStore): NonNullable<EndpointDeps['awaitJob']> =>
  async (backupId, until) => {
    const { state } = await load(store, backupDecider, streamOf.backup(backupId));
    if (state.status !== 'none' && until(state)) return state;
    throw new CommandDone();
  };

const followingBackups = async (store: DryRunStore): Promise<readonly string[]> => {
  const streams = new Set(store.appended().map(({ stream }) => stream));
  const sentences: string[] = [];
  for (const stream of streams) {
    if (!stream.startsWith(prefixOf('backup'))) continue;
    sentences.push(...foresee((await load(store, backupDecider, stream)).state));
  }
  return sentences;
};

const isSame = (a: Endpoint, b: Endpoint): boolean => a.method === b.method && a.path === b.path;

/**
 * Dry runs: for each request the endpoints are built once more, over a store that keeps appends to itself and ports without
 * effects, and the one that was asked runs as it always does. So a dry run refuses what the command would refuse, with the
 * very same code, and a new rule needs nothing here. An endpoint takes part by `dryRun: true`; one that has effects through
 * a port that is not replaced here must not.
 */
export const createDryRun =
  (deps: EndpointDeps): DryRun =>
  async (endpoint, request) => {
    const store = createDryRunStore(deps.stores.store, clock.now);
    const effects: DryRunEffects = { say: [], keptSecrets: new Map(), started: [], stopped: new Set() };
    const settled = async (): Promise<never> => {
      throw new CommandDone();
    };
    const dry = recordEndpoints({
      ...deps,
      stores: { ...deps.stores, store },
      services: dryServices(deps.services, store, effects),
      readModel: { ...deps.readModel, settled },
      awaitJob: awaitJobIn(store),
    }).find((candidate) => isSame(candidate, endpoint));
    if (!dry) throw new Error(`${endpoint.method} ${endpoint.path} is not among the endpoints that can be run dry`);
    try {
      await dry.respond(request);
    } catch (error) {
      if (!(error instanceof CommandDone)) throw error;
    }
    const wouldAppend = store.appended();
    const restores = foreseeDiskRestores(wouldAppend.map(({ event }) => event));
    return { wouldAppend, wouldFollow: [...effects.say, ...(await followingBackups(store)), ...restores] };
  };
