import { execa } from 'execa';

/**
 * Runs the programs that move disks' bytes. Where util-linux has `setpriv --pdeathsig`, the kernel kills them when
 * the node dies, `kill -9` included; nbdkit is started with --exit-with-parent besides. No shell anywhere.
 */
export type RunOptions = Readonly<{
  timeoutMs?: number;
  /** For work nobody waits for yet: behind a backup's own programs, yet not starved by other people's. */
  background?: boolean;
  onStart?: (pid: number) => void;
  /** Called with what the program writes to file descriptor 3, as it comes. */
  onProgress?: (text: string) => void;
}>;

const killAfterMs = 2_000;
// A map of 65 536 extents as JSON is 7 MB.
const keptOutputCharacters = 200_000_000;

// The text of errors is shown to people and matched in tests: not in the machine's language.
const environment = () => ({ PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' });

export class ProgramFailed extends Error {
  readonly stderr: string;

  constructor(program: string, stderr: string, options?: ErrorOptions) {
    // The last line is the reason, lines before it are its consequences elsewhere (nbdkit's broken pipes).
    super(`${program}: ${stderr.trim().split('\n').at(-1) || 'ended without saying why'}`, options);
    this.name = 'ProgramFailed';
    this.stderr = stderr;
  }
}

export type Programs = Readonly<{
  /** Resolves to stdout; throws ProgramFailed on another exit code than 0, on a timeout and on an abort. */
  run(command: readonly [string, ...string[]], options: RunOptions, signal: AbortSignal): Promise<string>;
}>;

type Command = Readonly<{ argv: readonly string[]; cleanup: boolean }>;

const start = ({ argv, cleanup }: Command, { timeoutMs, onStart, onProgress }: RunOptions, signal: AbortSignal) => {
  const [file = '', ...args] = argv;
  const child = execa(file, args, {
    cancelSignal: signal,
    // execa's own cleanup ends the node at the first SIGTERM, before it could stop in order, if it sees no other handler.
    cleanup,
    forceKillAfterDelay: killAfterMs,
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    stdio: ['ignore', 'pipe', 'pipe', ...(onProgress === undefined ? [] : (['pipe'] as const))],
    ...(onProgress === undefined ? {} : { buffer: { fd3: false } }),
    maxBuffer: keptOutputCharacters,
    env: environment(),
    extendEnv: false,
    reject: false,
  });
  if (child.pid !== undefined) onStart?.(child.pid);
  const progress = child.stdio[3];
  if (onProgress !== undefined && progress && 'on' in progress) {
    progress.on('data', (chunk: Buffer) => onProgress(chunk.toString()));
  }
  return child;
};

const pdeathsigWorks = async (): Promise<boolean> => {
  const { failed } = await execa('setpriv', ['--pdeathsig', 'KILL', '--', 'true'], {
    reject: false,
    stdio: 'ignore',
    timeout: 5_000,
  });
  return !failed;
};

export const createPrograms = async (): Promise<Programs> => {
  const dieWithUs = (await pdeathsigWorks()) ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
  return {
    run: async (command, options, signal) => {
      signal.throwIfAborted();
      const polite = options.background === true ? ['nice', '-n', '5'] : [];
      const argv = [...dieWithUs, ...polite, ...command];
      const result = await start({ argv, cleanup: dieWithUs.length === 0 }, options, signal);
      if (!result.failed) return String(result.stdout);
      signal.throwIfAborted();
      const stderr = String(result.stderr ?? '');
      throw new ProgramFailed(command[0], stderr === '' ? (result.shortMessage ?? '') : stderr, { cause: result });
    },
  };
};
