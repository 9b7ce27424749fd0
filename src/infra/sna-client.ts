import { z } from 'zod';
import type { VmInventory } from '#commands/inventory-ports.ts';
import { DomainError } from '#domain/errors.ts';
import { type BackupNode, NodeRefused, NodeUnreachable } from '#process-managers/ports.ts';
import type { BackupStartRequest, CancelRequest, DiscoverRequest } from '#wire/node-api.ts';
import { DiscoveryReply } from './sna-discovery-reply.ts';
import { callNode, type Fetch, type NodeAnswer, type NodeCall, NodeTimedOut, shorten } from './sna-request.ts';

export type SnaClientOptions = Readonly<{
  /** Where the node appliance listens, e.g. `http://127.0.0.1:9081`. */
  baseUrl: string;
  startTimeoutMs?: number;
  /** A vCenter with some hundred VMs takes 15 s and more. */
  discoverTimeoutMs?: number;
  otherTimeoutMs?: number;
  fetch?: Fetch;
}>;

/** What the hub uses of the answer to a start; older appliances leave the rest out. */
const StartReply = z.object({ job_id: z.string(), pid: z.number().int().nullish() });
const StatusReply = z.object({ job_id: z.string() });

const isSuccess = ({ status }: NodeAnswer): boolean => status >= 200 && status < 300;

/** The answer as its schema reads it. Throws `NodeRefused` for one that makes no sense. */
const decode = <T extends z.ZodType>(answer: NodeAnswer, schema: T, secrets: readonly string[]): z.output<T> => {
  if (!isSuccess(answer)) throw new NodeRefused(answer.status, answer.text);
  let json: unknown;
  try {
    json = JSON.parse(answer.text);
  } catch {
    throw new NodeRefused(answer.status, `the answer is not JSON: ${shorten(answer.text, secrets).slice(0, 200)}`);
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.join('.') || 'the body';
  throw new NodeRefused(answer.status, `the answer is not as agreed: ${where}: ${issue?.message}`);
};

/** How the appliance tells that vCenter said no; its errors are plain text. */
const refusals: readonly (readonly [RegExp, string])[] = [
  [/failed to connect to vcenter/i, 'vCenter refused the login, or there is no vCenter at that host'],
  [/failed to find datacenter/i, 'vCenter has no such datacenter'],
];

const inDomainWords = (error: unknown): unknown => {
  if (error instanceof NodeTimedOut) {
    return new DomainError('node-timeout', 'the node did not answer in time', { cause: error.message });
  }
  if (error instanceof NodeUnreachable) {
    return new DomainError('node-unreachable', 'the node cannot be reached', { cause: error.message });
  }
  if (!(error instanceof NodeRefused)) return error;
  const refusal = refusals.find(([pattern]) => pattern.test(error.body));
  if (refusal) return new DomainError('source-refused', refusal[1], { cause: error.body });
  return new DomainError('node-error', 'the node could not discover virtual machines', { cause: error.message });
};

/** The node appliance as the hub uses it. Nothing is repeated here: who calls knows whether that is safe. */
export const createSnaClient = (options: SnaClientOptions): BackupNode & VmInventory => {
  const { baseUrl, startTimeoutMs = 30_000, discoverTimeoutMs = 60_000, otherTimeoutMs = 10_000 } = options;
  const root = `${baseUrl.replace(/\/+$/, '')}/api/v1`;
  const via = options.fetch ? { fetch: options.fetch } : {};

  const call = (request: Omit<NodeCall, 'url'> & Readonly<{ path: string }>, signal: AbortSignal) =>
    callNode({ ...request, ...via, url: `${root}${request.path}` }, signal);

  const startBackup: BackupNode['startBackup'] = async (request, signal) => {
    const { previousChangeId, password } = request;
    const body: BackupStartRequest = {
      ...{ job_id: request.jobId, vm_name: request.vmName, vm_path: request.vmPath },
      ...{ vcenter_host: request.vcenterHost, vcenter_user: request.username, vcenter_password: password },
      ...{ nbd_targets: request.nbdTargets, backup_type: request.backupType, nbd_host: '127.0.0.1' },
      ...(previousChangeId === undefined ? {} : { previous_change_id: previousChangeId }),
    };
    const secrets = [password];
    const answer = await call(
      { method: 'POST', path: '/backup/start', body, timeoutMs: startTimeoutMs, secrets },
      signal,
    );
    if (answer.status !== 200 && answer.status !== 202) {
      throw new NodeRefused(answer.status, shorten(answer.text, secrets));
    }
    const reply = decode(answer, StartReply, secrets);
    if (reply.job_id === request.jobId) return { pid: reply.pid ?? null };
    throw new NodeRefused(answer.status, `it answered for another job, ${shorten(reply.job_id, secrets)}`);
  };

  const knowsJob: BackupNode['knowsJob'] = async (jobId, signal) => {
    const path = `/status/${encodeURIComponent(jobId)}`;
    const answer = await call({ method: 'GET', path, timeoutMs: otherTimeoutMs, secrets: [] }, signal);
    if (answer.status === 404) return false;
    return decode(answer, StatusReply, []).job_id === jobId;
  };

  const cancelBackup: BackupNode['cancelBackup'] = async (jobId, signal) => {
    const body: CancelRequest = { job_id: jobId };
    const answer = await call(
      { method: 'POST', path: '/backup/cancel', body, timeoutMs: otherTimeoutMs, secrets: [] },
      signal,
    );
    // Appliances in the field have no such call.
    if (answer.status === 404 || answer.status === 405) return false;
    if (isSuccess(answer)) return true;
    throw new NodeRefused(answer.status, answer.text);
  };

  const discover: VmInventory['discover'] = async ({ vcenterHost, username, password, datacenter, filter }, signal) => {
    const body: DiscoverRequest = {
      ...{ vcenter: vcenterHost, username, password, datacenter },
      ...(filter === undefined || filter === '' ? {} : { filter }),
    };
    const secrets = [password];
    try {
      const answer = await call(
        { method: 'POST', path: '/discover', body, timeoutMs: discoverTimeoutMs, secrets },
        signal,
      );
      return decode(answer, DiscoveryReply, secrets);
    } catch (error) {
      throw inDomainWords(error);
    }
  };

  return { startBackup, knowsJob, cancelBackup, discover };
};
