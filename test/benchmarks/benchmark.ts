import type { Outcome } from './figures.ts';

export type Bench = Readonly<{
  /** On a real filesystem, removed afterwards. */
  folder: string;
  /** Small sizes and few samples, to see that it works; the figures then mean nothing. */
  quick: boolean;
  /** Tells how it gets on. */
  say: (text: string) => void;
  signal: AbortSignal;
}>;

export type Benchmark = Readonly<{
  name: string;
  run: (bench: Bench) => Promise<Outcome>;
}>;

/** One of several that are measured in turn. `run` returns its own time, so that it says what counts. */
export type Contender = Readonly<{ name: string; run: () => Promise<number> }>;

/**
 * Measures in rounds A B A B, so that a slow minute of the machine meets all alike. The first round warms up and does not
 * count. Returns the samples of each, in the order of the rounds.
 */
export const alternate = async <Name extends string>(
  rounds: number,
  contenders: Readonly<Record<Name, () => Promise<number>>>,
  bench: Pick<Bench, 'say' | 'signal'>,
): Promise<Readonly<Record<Name, readonly number[]>>> => {
  const names = Object.keys(contenders) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = 0; round <= rounds; round += 1) {
    const told: string[] = [];
    for (const name of names) {
      bench.signal.throwIfAborted();
      const value = await contenders[name]();
      if (round > 0) samples[name].push(value);
      told.push(`${name} ${value.toPrecision(3)}`);
    }
    bench.say(`${round === 0 ? 'warm-up' : `round ${round}/${rounds}`}: ${told.join(', ')}`);
  }
  return samples;
};
