import type { WriteStream } from 'node:tty';
import { styleText } from 'node:util';
import { Interrupted } from './interruption.ts';
import { type Bar, drawBar } from './progress-bar.ts';
import { inSeconds } from './words.ts';

/** Where it is shown how the demo gets on. */
export type Screen = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/** A step failed: which, and why. */
export class StepFailed extends Error {
  readonly step: string;
  constructor(step: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = 'StepFailed';
    this.step = step;
  }
}

type Show = (bars: readonly Bar[]) => void;
type Active = { title: string; startedAtMs: number; bars: readonly Bar[] };

export type Display = Readonly<{
  /** Shows a step while it runs, then how it ended; `tell` adds what came of it. Steps may overlap. */
  step: <T>(title: string, work: (show: Show) => Promise<T>, tell?: (result: T) => string) => Promise<T>;
  say: (line: string) => void;
  close: () => void;
}>;

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const frameMs = 100;
const plainStepPercent = 25;
const plainColumns = 100;

const outcome = (mark: string, title: string, seconds: number, more: string): string =>
  `${mark} ${title} ${inSeconds(seconds)}${more === '' ? '' : `  ${more}`}`;

/** Live lines at the bottom of a terminal, redrawn in place; finished lines scroll away above them. */
const terminal = (screen: Screen, active: ReadonlySet<Active>) => {
  let drawn = 0;
  let frame = 0;
  const columns = (): number => Math.max(20, (screen.columns ?? 80) - 1); // a full line would wrap
  const lines = (): readonly string[] =>
    [...active].flatMap(({ title, startedAtMs, bars }) => {
      const spent = (performance.now() - startedAtMs) / 1000;
      const head = `${frames[frame % frames.length]} ${title} ${inSeconds(spent)}`.slice(0, columns());
      return [head, ...bars.map((bar) => `  ${drawBar(bar, columns() - 2)}`)];
    });
  const clear = (): string => (drawn === 0 ? '' : `\x1b[${drawn}A\x1b[0J`);
  const redraw = (above = ''): void => {
    const live = lines();
    screen.write(`${clear()}${above}${live.map((line) => `${line}\n`).join('')}`);
    drawn = live.length;
  };
  const timer = setInterval(() => {
    frame += 1;
    if (active.size > 0) redraw();
  }, frameMs).unref();
  return {
    begun: () => redraw(),
    shown: () => undefined, // the next frame shows it
    line: (text: string) => redraw(`${text}\n`),
    close: () => {
      clearInterval(timer);
      screen.write(clear());
      drawn = 0;
    },
  };
};

/** Lines for a file or a pipe: each step's begin and end, a disk's quarters and phases. */
const plain = (screen: Screen) => {
  const told = new Map<string, string>();
  return {
    begun: ({ title }: Active) => void screen.write(`… ${title}\n`),
    shown: ({ title, bars }: Active) => {
      for (const bar of bars) {
        const quarter = Math.floor(bar.percent / plainStepPercent);
        const news = `${bar.phase} ${quarter}`;
        const key = `${title} ${bar.label}`;
        if (told.get(key) === news) continue;
        told.set(key, news);
        screen.write(`  ${drawBar(bar, plainColumns)}\n`);
      }
    },
    line: (text: string) => void screen.write(`${text}\n`),
    close: () => undefined,
  };
};

export const createDisplay = (screen: Screen, signal: AbortSignal): Display => {
  const active = new Set<Active>();
  const view = screen.isTTY === true ? terminal(screen, active) : plain(screen);
  const style = (colour: 'green' | 'red', text: string): string =>
    screen.isTTY === true ? styleText(colour, text) : text;
  return {
    step: async (title, work, tell) => {
      const step: Active = { title, startedAtMs: performance.now(), bars: [] };
      active.add(step);
      view.begun(step);
      const show: Show = (bars) => {
        step.bars = bars;
        view.shown(step);
      };
      const spent = (): number => (performance.now() - step.startedAtMs) / 1000;
      try {
        const result = await work(show);
        active.delete(step);
        view.line(outcome(style('green', '✔'), title, spent(), tell?.(result) ?? ''));
        return result;
      } catch (error) {
        active.delete(step);
        const reason: unknown = signal.aborted ? signal.reason : error;
        if (reason instanceof StepFailed) throw reason; // given up because of another step: that one has told
        if (!(reason instanceof Interrupted)) view.line(outcome(style('red', '✖'), title, spent(), ''));
        throw new StepFailed(title, reason);
      }
    },
    say: (line) => view.line(line),
    close: view.close,
  };
};
