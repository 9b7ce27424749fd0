import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { type RunningProgram, StartFailed, startProgram } from './program.ts';

export type Appliances = Readonly<{ hub: RunningProgram; node: RunningProgram }>;

export type AppliancesSpec = Readonly<{
  folder: string;
  /** The folder of the node's VMs. */
  vmsFolder: string;
  adminPassword: string;
  login: Readonly<{ username: string; password: string }>;
  /** Told of each program as soon as it runs, so that it can be stopped whatever comes next. */
  onStarted: (program: RunningProgram) => void;
}>;

/** Where their files are, below the demo's folder. */
export const hubData = 'hub';
export const nodeData = 'node';

const attempts = 5;

const startNode = (spec: AppliancesSpec, hubPort: number, signal: AbortSignal): Promise<RunningProgram> => {
  const source = ['--source', 'disk-image', '--root', spec.vmsFolder, '--data-dir', nodeData];
  const addresses = ['--http', '127.0.0.1:0', '--hub', `http://127.0.0.1:${hubPort}`];
  const settings = { SENDENSE_LAB_USERNAME: spec.login.username, SENDENSE_LAB_PASSWORD: spec.login.password };
  const files = { folder: spec.folder, readyFile: join(nodeData, 'node.json') };
  return startProgram({ name: 'node', args: ['node', ...source, ...addresses], ...files, settings }, signal);
};

const startHub = (
  spec: AppliancesSpec,
  port: number,
  nodeUrl: string,
  signal: AbortSignal,
): Promise<RunningProgram> => {
  const settings = {
    SENDENSE_HTTP: `127.0.0.1:${port}`,
    SENDENSE_DATA_DIR: hubData,
    SENDENSE_SNA_URL: nodeUrl,
    SENDENSE_RESTORE_DIR: join(spec.folder, 'restore'),
    // In the environment, which other users cannot read; command lines they can.
    SENDENSE_ADMIN_PASSWORD: spec.adminPassword,
  };
  const files = { folder: spec.folder, readyFile: join(hubData, 'hub.json') };
  return startProgram({ name: 'hub', args: ['hub'], ...files, settings }, signal);
};

const portWasTaken = (error: unknown): boolean =>
  error instanceof StartFailed && /EADDRINUSE|address already in use/i.test(error.message);

/**
 * Starts a node and a hub that know each other's address. The node has to be told the hub's before there is one: a free
 * port is chosen, and another one when somebody took it in between.
 */
export const startAppliances = async (spec: AppliancesSpec, signal: AbortSignal): Promise<Appliances> => {
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const node = await startNode(spec, port, signal);
    spec.onStarted(node);
    try {
      const hub = await startHub(spec, port, node.url, signal);
      spec.onStarted(hub);
      return { hub, node };
    } catch (error) {
      await node.stop();
      if (!portWasTaken(error) || attempt === attempts) throw error;
    }
  }
};
