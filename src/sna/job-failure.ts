export const failureCodes = [
  'snapshot_failed',
  'snapshot_not_stable',
  'transfer_failed',
  'hub_unreachable',
  'hub_refused',
  'superseded',
  'cancelled',
  'node_stopping',
  'node_restarted',
  'internal',
] as const;
export type FailureCode = (typeof failureCodes)[number];

/** Why a backup ended badly, in words for an administrator and as a code for programs. */
export class JobFailure extends Error {
  readonly code: FailureCode;

  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'JobFailure';
    this.code = code;
  }
}

/** An abort carries its reason in the signal; everything else that is thrown was not foreseen. */
export const asJobFailure = (error: unknown, signal: AbortSignal): JobFailure => {
  if (signal.aborted && signal.reason instanceof JobFailure) return signal.reason;
  if (error instanceof JobFailure) return error;
  return new JobFailure('internal', error instanceof Error ? error.message : String(error), { cause: error });
};
