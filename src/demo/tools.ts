import { execa } from 'execa';

export type ToolOptions = Readonly<{ input?: string; folder?: string }>;
export type ToolOutput = Readonly<{ stdout: string; stderr: string }>;

/** Runs one program to its end. Throws ToolFailed, with the program's last words. */
export type RunTool = (command: readonly [string, ...string[]], options?: ToolOptions) => Promise<ToolOutput>;

export class ToolFailed extends Error {
  constructor(program: string, reason: string, options?: ErrorOptions) {
    super(`${program}: ${reason}`, options);
    this.name = 'ToolFailed';
  }
}

// mke2fs and sfdisk are not in an ordinary user's PATH. Messages are matched, so they are not translated.
const environment = () => ({
  PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/local/sbin:/usr/sbin:/sbin`,
  LC_ALL: 'C',
});

/** Programs that end when the signal aborts. */
export const createTools =
  (signal: AbortSignal): RunTool =>
  async ([file, ...args], { input = '', folder } = {}) => {
    signal.throwIfAborted();
    const result = await execa(file, args, {
      ...{ input, cancelSignal: signal, env: environment(), reject: false },
      ...(folder === undefined ? {} : { cwd: folder }),
    });
    const { stdout, stderr, failed, shortMessage } = result;
    if (!failed) return { stdout, stderr };
    signal.throwIfAborted();
    // qemu-img compare tells on stdout where the first difference is.
    const words = (stderr.trim() || stdout.trim()).split('\n').at(-1) || shortMessage;
    throw new ToolFailed(file, words ?? 'ended without saying why', { cause: result });
  };
