export type Measurement = readonly [name: string, value: number];

// As many as the server that this one follows looks back at.
const window = 1000;

const percentiles: readonly (readonly [name: string, percent: number])[] = [
  ['Quintile 1', 0],
  ['Quintile 2', 20],
  ['Quintile 3', 40],
  ['Quintile 4', 60],
  ['Quintile 5', 80],
  ['90%', 90],
  ['95%', 95],
  ['99%', 99],
  ['99.5%', 99.5],
  ['99.9%', 99.9],
];

/** How long a consumer took to answer for each of its latest messages, in milliseconds. */
export class RequestStatistics {
  readonly #durationsMs: number[] = [];
  #next = 0;

  add(durationMs: number): void {
    this.#durationsMs[this.#next] = Math.round(durationMs);
    this.#next = (this.#next + 1) % window;
  }

  get measurements(): readonly Measurement[] {
    const sorted = this.#durationsMs.toSorted((a, b) => a - b);
    const at = (index: number) => sorted[Math.min(index, sorted.length - 1)] ?? 0;
    if (sorted.length === 0) return [];
    const sum = sorted.reduce((total, duration) => total + duration, 0);
    return [
      ['Mean', Math.floor(sum / sorted.length)],
      ['Median', at(Math.floor(sorted.length / 2))],
      ['Fastest', at(0)],
      ...percentiles.map(([name, percent]): Measurement => [name, at(Math.floor((percent / 100) * sorted.length))]),
      ['Highest', at(sorted.length - 1)],
    ];
  }
}
