import { once } from 'node:events';

/** Results go to stdout, everything else to stderr. Waits for a reader that is slow. */
export const print = async (text: string | Uint8Array): Promise<void> => {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
};

/** Control characters in a name or a payload must not reach the terminal. */
export const printable = (text: string): string => text.replace(/\p{Cc}/gu, ' ');

export const tell = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

const redrawEveryMs = 200;

/** One line on a terminal that is drawn over and over; nothing where nobody looks. */
export const createProgressLine = (): Readonly<{ show: (text: string) => void; end: () => void }> => {
  let shownAtMs = Number.NEGATIVE_INFINITY;
  let drawn = false;
  return {
    show: (text) => {
      if (!process.stderr.isTTY || performance.now() - shownAtMs < redrawEveryMs) return;
      shownAtMs = performance.now();
      drawn = true;
      process.stderr.write(`\r\x1b[K${text}`);
    },
    end: () => {
      if (drawn) process.stderr.write('\r\x1b[K');
    },
  };
};

/** Aborts with Ctrl-C, SIGTERM, or when nobody reads the results any more. */
export const interruption = (): AbortSignal => {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new Error('interrupted'));
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, stop);
  process.stdout.on('error', stop);
  return controller.signal;
};
