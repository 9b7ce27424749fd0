import { ExecaError, execa } from 'execa';
import { PermanentFailure } from '#process-managers/ports.ts';

/** A program's last words without its own name, on one line. */
export const lastWords = (stderr: string): string =>
  stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .slice(-4)
    .join(' ')
    .slice(-1000);

/**
 * Runs a program to its end and returns what it said. Throws `PermanentFailure` with its own words when it fails or is not installed, the
 * signal's reason when that aborts, and a plain error (worth another try) when time runs out.
 */
export const runProgram = async (
  program: string,
  args: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string> => {
  signal.throwIfAborted();
  try {
    const { stdout } = await execa(program, args, {
      timeout: timeoutMs,
      cancelSignal: signal,
      stdin: 'ignore',
      // Error texts are read and shown: no translation of them.
      env: { LC_ALL: 'C' },
    });
    return stdout;
  } catch (error) {
    throw meaningOf(error, program, timeoutMs, signal);
  }
};

const meaningOf = (error: unknown, program: string, timeoutMs: number, signal: AbortSignal): unknown => {
  if (!(error instanceof ExecaError)) return error;
  if (error.isCanceled) return signal.reason;
  if (error.timedOut) return new Error(`${program} did not end within ${timeoutMs / 1000} s`, { cause: error });
  if (error.code === 'ENOENT')
    return new PermanentFailure(`${program} is not installed on this host`, { cause: error });
  const words = lastWords(String(error.stderr ?? ''));
  return new PermanentFailure(words === '' ? error.shortMessage : words, { cause: error });
};

/** File system calls cannot be cancelled; whoever waits for one on a hanging network mount can. */
export const unlessAborted = async <T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> => {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work(), aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
};
