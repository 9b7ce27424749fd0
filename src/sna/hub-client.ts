import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { ChangeIdReply, type CompleteBody, CompleteReply, type TelemetryPost } from '#wire/client-callbacks.ts';
import { JobFailure } from './job-failure.ts';

export type HubClientOptions = Readonly<{ url: string; giveUpAfterMs: number }>;

/** The callbacks of a backup client. A hub that restarts is waited for; what it refuses is final. */
export interface HubClient {
  /** The change id the disk's next incremental builds on; undefined: there is none. */
  lastChangeId(vmName: string, diskIndex: number, signal: AbortSignal): Promise<string | undefined>;
  /** May be repeated: the hub answers a repeat like the first call. */
  completeDisk(backupId: string, body: CompleteBody, signal: AbortSignal): Promise<void>;
  /** One attempt, throws when it fails. */
  postTelemetry(jobId: string, body: TelemetryPost, signal: AbortSignal): Promise<void>;
  /** Repeated while the hub is away; resolves to whether the hub has it. */
  reportFailure(jobId: string, body: TelemetryPost, signal: AbortSignal): Promise<boolean>;
}

// B4 of the last disk waits for the hub to stop the exports: minutes on a slow disk are possible.
const callTimeoutMs = 300_000;
const telemetryTimeoutMs = 10_000;
const firstPauseMs = 200;
const longestPauseMs = 5_000;

class Unreachable extends Error {}
class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? (error.cause instanceof Error ? error.cause.message : error.message) : String(error);

type Call = Readonly<{ method: 'GET' | 'POST'; path: string; body?: unknown; timeoutMs: number }>;

const call = async (hubUrl: string, { method, path, body, timeoutMs }: Call, signal: AbortSignal): Promise<unknown> => {
  const headers = { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const payload = body === undefined ? {} : { body: JSON.stringify(body) };
  try {
    const response = await fetch(new URL(path, hubUrl), { method, headers, signal: bounded, ...payload });
    const text = await response.text();
    if (response.status === 200) return JSON.parse(text) as unknown;
    const detail = `${method} ${path.split('?')[0]} answered ${response.status}: ${text.slice(0, 300)}`;
    // 408 and 429 ask to come again.
    if (response.status < 500 && response.status !== 408 && response.status !== 429)
      throw new Refused(response.status, detail);
    throw new Unreachable(detail);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Refused || error instanceof Unreachable) throw error;
    throw new Unreachable(reasonOf(error), { cause: error });
  }
};

export const createHubClient = (options: HubClientOptions, log: Logger): HubClient => {
  const patiently = async (request: Call, signal: AbortSignal): Promise<unknown> => {
    const deadline = performance.now() + options.giveUpAfterMs;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, 2 * pauseMs)) {
      try {
        return await call(options.url, request, signal);
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
        if (performance.now() + pauseMs > deadline) {
          throw new JobFailure('hub_unreachable', `hub not reachable: ${error.message}`, { cause: error });
        }
        log.warn({ path: request.path, reason: error.message, pauseMs }, 'hub not reachable, trying again');
        await delay(pauseMs, undefined, { signal });
      }
    }
  };

  const checked = <S extends z.ZodType>(schema: S, reply: unknown, what: string): z.infer<S> => {
    const parsed = schema.safeParse(reply);
    if (!parsed.success) throw new JobFailure('hub_refused', `hub answered ${what} with something else`);
    return parsed.data;
  };

  return {
    lastChangeId: async (vmName, diskIndex, signal) => {
      const query = new URLSearchParams({ vm_name: vmName, disk_id: String(diskIndex) });
      const request: Call = { method: 'GET', path: `/api/v1/backups/changeid?${query}`, timeoutMs: callTimeoutMs };
      try {
        const reply = checked(ChangeIdReply.pick({ change_id: true }), await patiently(request, signal), 'changeid');
        return reply.change_id === '' ? undefined : reply.change_id;
      } catch (error) {
        if (error instanceof Refused) {
          log.info({ vmName, diskIndex, reason: error.message }, 'no change id');
          return undefined; // a full copy is always right
        }
        throw error;
      }
    },
    completeDisk: async (backupId, body, signal) => {
      const path = `/api/v1/backups/${encodeURIComponent(backupId)}/complete`;
      const reply = await patiently({ method: 'POST', path, body, timeoutMs: callTimeoutMs }, signal).catch(
        (error: unknown) => {
          if (error instanceof Refused)
            throw new JobFailure('hub_refused', `hub refused: ${error.message}`, { cause: error });
          throw error;
        },
      );
      checked(CompleteReply.pick({ change_id: true }), reply, 'complete');
    },
    postTelemetry: async (jobId, body, signal) => {
      await call(options.url, telemetryCall(jobId, body), signal);
    },
    reportFailure: async (jobId, body, signal) => {
      try {
        await patiently(telemetryCall(jobId, body), signal);
        return true;
      } catch (error) {
        log.warn({ jobId, reason: reasonOf(error) }, 'the hub was not told that the job failed');
        return false;
      }
    },
  };
};

const telemetryCall = (jobId: string, body: TelemetryPost): Call => ({
  method: 'POST',
  path: `/api/v1/telemetry/backup/${encodeURIComponent(jobId)}`,
  body,
  timeoutMs: telemetryTimeoutMs,
});
