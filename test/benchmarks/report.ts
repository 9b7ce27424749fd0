import type { Breakdown, Figure, Outcome, Spread } from './figures.ts';

/** How a benchmark went; `error` when something broke. */
export type Result = Readonly<{ name: string } & (Outcome | { error: string })>;

const number = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);

const spread = ({ median, min, max }: Spread, unit: string): string =>
  `${number(median)}${unit} (${number(min)} to ${number(max)})`;

const withUnit = (unit: string): string => (unit === '' ? '' : ` ${unit}`);

const verdict = ({ limit, met, ratio, unit }: Figure): string => {
  if (limit === undefined || met === undefined) return '';
  const wanted = ratio ? `${limit} times` : `${limit}${withUnit(unit)}`;
  return met ? `✔ within ${wanted}` : `✖ MISSED: at most ${wanted}`;
};

const figureLines = (figure: Figure): readonly string[] => {
  const { name, unit, measured, against, ratio } = figure;
  const samples = `${measured.samples.length} ${measured.samples.length === 1 ? 'sample' : 'samples'}`;
  const lines = [`  ${name}: ${spread(measured, withUnit(unit))}, ${samples}`];
  if (against) lines.push(`    against ${against.name}: ${spread(against.measured, withUnit(unit))}`);
  if (ratio) lines.push(`    ratio ${spread(ratio, '')}`);
  const said = verdict(figure);
  return said === '' ? lines : [...lines, `    ${said}`];
};

const breakdownLines = ({ name, unit, parts }: Breakdown): readonly string[] => {
  const width = Math.max(...parts.map((part) => part.name.length));
  return [
    `  ${name}:`,
    ...parts.map((part) => `    ${part.name.padEnd(width)}  ${spread(part.measured, withUnit(unit))}`),
  ];
};

const resultLines = (result: Result): readonly string[] => {
  if ('error' in result) return [result.name, `  ✖ broke: ${result.error}`];
  return [
    result.name,
    ...result.conditions.map((condition) => `  ${condition}`),
    ...result.figures.flatMap(figureLines),
    ...(result.breakdowns ?? []).flatMap(breakdownLines),
  ];
};

/** For people: medians with their spread, and which limits were missed. */
export const asText = (results: readonly Result[]): string =>
  results.map((result) => `${resultLines(result).join('\n')}\n`).join('\n');

export const missedIn = (results: readonly Result[]): readonly string[] =>
  results.flatMap((result) =>
    'error' in result
      ? []
      : result.figures.filter(({ met }) => met === false).map(({ name }) => `${result.name}: ${name}`),
  );
