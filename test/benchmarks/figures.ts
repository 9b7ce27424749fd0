/** One series of measurements. */
export type Spread = Readonly<{ median: number; min: number; max: number; samples: readonly number[] }>;

export type Figure = Readonly<{
  name: string;
  unit: string;
  measured: Spread;
  /** What it is compared with, measured in the same rounds. */
  against?: Readonly<{ name: string; measured: Spread }>;
  /** Of the two in each round: what slows the machine down for a while slows both. */
  ratio?: Spread;
  /** The most that the ratio may be or, where nothing is compared, the measured value. */
  limit?: number;
  met?: boolean;
}>;

export type Breakdown = Readonly<{
  name: string;
  unit: string;
  parts: readonly Readonly<{ name: string; measured: Spread }>[];
}>;

export type Outcome = Readonly<{
  /** How it was measured, as far as the figures do not tell. */
  conditions: readonly string[];
  figures: readonly Figure[];
  breakdowns?: readonly Breakdown[];
}>;

const middle = (sorted: readonly number[]): number => {
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
};

export const spreadOf = (samples: readonly number[]): Spread => {
  const sorted = samples.toSorted((a, b) => a - b);
  return { median: middle(sorted), min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN, samples };
};

type Named = Readonly<{ name: string; unit: string; samples: readonly number[]; limit?: number }>;

/** A figure that stands for itself. */
export const plainFigure = ({ name, unit, samples, limit }: Named): Figure => {
  const measured = spreadOf(samples);
  return { name, unit, measured, ...(limit === undefined ? {} : { limit, met: measured.median <= limit }) };
};

/** A figure against an alternative; the samples of one round have the same place in both. */
export const comparedFigure = (
  figure: Named,
  alternative: Readonly<{ name: string; samples: readonly number[] }>,
): Figure => {
  const ratio = spreadOf(figure.samples.map((sample, round) => sample / (alternative.samples[round] ?? Number.NaN)));
  const { name, unit, limit } = figure;
  return {
    ...{ name, unit, measured: spreadOf(figure.samples), ratio },
    against: { name: alternative.name, measured: spreadOf(alternative.samples) },
    ...(limit === undefined ? {} : { limit, met: ratio.median <= limit }),
  };
};
