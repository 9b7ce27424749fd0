import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { lastWords } from './program.ts';

/** How a program ended, and what it complained of. */
export type Ended = Readonly<{ ok: boolean; words: string }>;

/** A program that lives no longer than the hub: the kernel kills it with its parent, `kill -9` included. */
export type TiedProcess = Readonly<{
  stdout: Readable;
  isOver: () => boolean;
  ended: Promise<Ended>;
  /** Content when it is gone already. */
  kill: () => void;
}>;

/** Error texts of programs are a line or two; one that floods is cut. */
const keptWords = 8_192;

const wordsOf = (child: ChildProcess): (() => string) => {
  let words = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = `${words}${text}`.slice(-keptWords);
  });
  return () => lastWords(words);
};

const describeEnd = (program: string, words: string, code: number | null, signal: string | null): string => {
  if (words !== '') return words;
  return signal === null ? `${program} ended with code ${code}` : `${program} was ended by ${signal}`;
};

/** Node's own `spawn`: execa collects output, and this is a disk's. The folder names its owner to who cleans up after a crash. */
export const startTied = (program: string, args: readonly string[], folder: string): TiedProcess => {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', program, ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
  });
  const words = wordsOf(child);
  const { promise, resolve } = Promise.withResolvers<Ended>();
  let over = false;
  const end = (ended: Ended): void => {
    over = true;
    resolve(ended);
  };
  child.once('error', (error) => end({ ok: false, words: `${program} cannot be started: ${error.message}` }));
  // All of its output has been read by then, or is not wanted any more.
  child.once('close', (code, signal) => end({ ok: code === 0, words: describeEnd(program, words(), code, signal) }));
  return {
    stdout: child.stdout,
    isOver: () => over,
    ended: promise,
    kill: () => {
      child.kill('SIGKILL');
      child.stdout.destroy();
      child.stderr.destroy();
    },
  };
};
