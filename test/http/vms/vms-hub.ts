import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAddVms } from '#commands/add-vms.ts';
import { createChangeVmwareCredential } from '#commands/change-vmware-credential.ts';
import { createChooseDefaultCredential } from '#commands/choose-default-credential.ts';
import { createCreateVmwareCredential } from '#commands/create-vmware-credential.ts';
import { createCredentialLogins } from '#commands/credential-login.ts';
import { createDeleteVmwareCredential } from '#commands/delete-vmware-credential.ts';
import { createDiscoverVms } from '#commands/discover-vms.ts';
import { createTestVmwareCredential } from '#commands/test-vmware-credential.ts';
import { createApp } from '#http/app.ts';
import { listen } from '#http/listen.ts';
import { discoveryEndpoints } from '#http/routes/discovery.ts';
import { vmContextEndpoints } from '#http/routes/vm-contexts.ts';
import { vmwareCredentialEndpoints } from '#http/routes/vmware-credentials.ts';
import { createLogger } from '#infra/logger.ts';
import { createSnaClient } from '#infra/sna-client.ts';
import { createSecretVault } from '#infra/vault/secret-vault.ts';
import { vmContextQueries } from '#projections/vm-contexts.ts';
import { credentialQueries } from '#projections/vmware-credentials.ts';
import { startReadModel } from '../../../src/composition/read-model.ts';
import { openStores, type Stores } from '../../../src/composition/stores.ts';
import { type FakeNode, startFakeNode } from '../../support/fake-node.ts';
import { openDoor } from '../support.ts';
import { createFakeVcenter, type FakeVcenter } from './fake-vcenter.ts';

export type Reply = Readonly<{ status: number; body: Readonly<Record<string, unknown>>; headers: Headers }>;

export type VmsHub = Readonly<{
  stores: Stores;
  key: Buffer;
  vcenter: FakeVcenter;
  node: FakeNode;
  /** Every line that was logged. */
  logged: readonly string[];
  call: (route: string, body?: unknown, headers?: Readonly<Record<string, string>>) => Promise<Reply>;
  /** Whether the read model came to hold everything up to there. */
  passed: (position: bigint) => Promise<boolean>;
  /** The same hub, with another key or none. */
  withKey: (key: Buffer | undefined) => Promise<Pick<VmsHub, 'call'> & Readonly<{ close: () => Promise<void> }>>;
  close: () => Promise<void>;
}>;

const clock = { now: () => new Date().toISOString() };
const ids = { uuid: () => randomUUID() };

type Served = Readonly<{
  stores: Stores;
  readModel: Awaited<ReturnType<typeof startReadModel>>;
  nodeUrl: string;
  key: Buffer | undefined;
  log: ReturnType<typeof createLogger>;
}>;

const endpointsOf = ({ stores, readModel, nodeUrl, key, log }: Served) => {
  const { store, database } = stores;
  const { settled } = readModel;
  const vault = createSecretVault({ db: database.vault, key });
  const inventory = createSnaClient({ baseUrl: nodeUrl, discoverTimeoutMs: 3_000, otherTimeoutMs: 3_000 });
  const logins = createCredentialLogins({ store, vault, clock });
  const credentials = credentialQueries(database.readModel);
  const vmContexts = vmContextQueries(database.readModel);
  const deps = { store, vault, clock, ids, lookups: credentials };
  return [
    ...vmwareCredentialEndpoints({
      ...{ credentials, settled, chooseDefault: createChooseDefaultCredential(deps) },
      createCredential: createCreateVmwareCredential(deps),
      changeCredential: createChangeVmwareCredential(deps),
      deleteCredential: createDeleteVmwareCredential(deps),
      testCredential: createTestVmwareCredential({ logins, inventory, ids }),
    }),
    ...vmContextEndpoints({ vmContexts, clock }),
    ...discoveryEndpoints({
      ...{ clock, log, settled, addVms: createAddVms(deps) },
      discoverVms: createDiscoverVms({ logins, inventory, managedVms: vmContexts, clock }),
    }),
  ];
};

const serve = async (served: Served) => {
  const { log } = served;
  const app = createApp({ endpoints: endpointsOf(served), authenticate: openDoor, log, cors: [] });
  const server = await listen(app, { host: '127.0.0.1', port: 0, graceMs: 200 });
  const call: VmsHub['call'] = async (route, body, headers = {}) => {
    const [method = 'GET', path = ''] = route.split(/ (.*)/s);
    const response = await fetch(`${server.url}/api/v1${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Reply['body'], headers: response.headers };
  };
  return { call, close: server.close };
};

/** What belongs to virtual machines and credentials, on the real embedded stores, with a node that plays a vCenter. */
export const startVmsHub = async (): Promise<VmsHub> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sendense-vms-'));
  const stop = new AbortController();
  const logged: string[] = [];
  const log = createLogger({ level: 'trace' }, { write: (line) => logged.push(line) });
  const embedded = (name: string) => ({ kind: 'embedded' as const, dataDir: join(dataDir, name) });
  const eventStore = { ...embedded('events'), scavengeEverySeconds: 0 };
  const stores = await openStores({ eventStore, database: embedded('postgres') }, log, stop.signal);
  const onProblem = (err: unknown) => log.error({ err }, 'projections stopped');
  const readModel = await startReadModel({ ...stores, onProblem, onBegunAnew: onProblem }, stop.signal);
  const vcenter = createFakeVcenter();
  const node = await startFakeNode(vcenter.answer);
  const served = { stores, readModel, nodeUrl: node.url, log };
  const key = randomBytes(32);
  const hub = await serve({ ...served, key });
  return {
    ...{ stores, key, vcenter, node, logged, call: hub.call },
    passed: (position) => readModel.runner.waitFor(position, 5_000),
    withKey: (other) => serve({ ...served, key: other }),
    close: async () => {
      await hub.close();
      await node.close();
      stop.abort();
      await readModel.runner.done;
      await stores.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
};
