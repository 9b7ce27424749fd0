import { join } from 'node:path';
import { type Program, type SystemUser, startProgram } from './program.ts';

export type Reply<Body = unknown> = Readonly<{ status: number; body: Body; headers: Headers }>;

export type CallOptions = Readonly<{
  /** A text is sent as it is. */
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
  timeoutMs?: number;
}>;

/** Calls the API; the type of the body is what the caller expects it to be. */
export type Call = <Body = Record<string, unknown>>(
  method: string,
  path: string,
  options?: CallOptions,
) => Promise<Reply<Body>>;

export const adminPassword = 'correct horse battery';

export const callTo =
  (url: () => string): Call =>
  async <Body>(method: string, path: string, { body, headers = {}, timeoutMs = 90_000 }: CallOptions = {}) => {
    const payload = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${url()}/api/v1${path}`, { method, headers, signal, ...payload });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: JSON.parse(text) as Body };
  };

type Health = Readonly<{ projections: readonly Readonly<{ name: string; lag_events: number }>[] }>;

export const readHealth = async (url: string): Promise<Health> =>
  (await (await fetch(`${url}/health`)).json()) as Health;

export type HubOptions = Readonly<{
  folder: string;
  dataDir: string;
  snaUrl: string;
  settings: Readonly<Record<string, string>>;
  user?: SystemUser | undefined;
}>;

export const hubSettings = ({ dataDir, snaUrl, settings, folder }: HubOptions): Readonly<Record<string, string>> => ({
  TMPDIR: join(folder, 'tmp'),
  SENDENSE_HTTP: '127.0.0.1:0',
  SENDENSE_DATA_DIR: dataDir,
  SENDENSE_SNA_URL: snaUrl,
  SENDENSE_AUTH: 'off',
  SENDENSE_ADMIN_PASSWORD: adminPassword,
  ...settings,
});

/** A hub of its own on the embedded stores. */
export const startHub = (options: HubOptions): Promise<Program> =>
  startProgram({
    ...{ args: ['hub'], env: hubSettings(options), folder: options.folder, dataDir: options.dataDir },
    ...{ addressFile: 'hub.json', logFile: join(options.folder, 'hub.log'), user: options.user },
  });
