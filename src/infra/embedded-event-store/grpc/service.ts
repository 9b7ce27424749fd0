import type { EventStorage } from '../event-storage.ts';
import type { Authoriser } from '../security/authoriser.ts';
import type { OpenCalls } from './open-calls.ts';
import type { AppendSizeRule } from './proposed-event.ts';

export type AppendLimits = Readonly<{
  maxAppendSizeBytes: number;
  appendSizeRule: AppendSizeRule;
  writeTimeoutMs: number;
}>;

/** What every handler of a call works with. */
export type Service = Readonly<{
  storage: EventStorage;
  calls: OpenCalls;
  limits: AppendLimits;
  authoriser: Authoriser;
}>;
