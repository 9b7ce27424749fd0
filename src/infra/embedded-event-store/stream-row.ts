import { rowSum } from './checksums.ts';
import type { DamageReporter } from './damage.ts';

/** `id` 0 and `last` -1: no event was ever written to it. Revisions before `first` were scavenged. */
export type StreamHead = {
  readonly id: number;
  readonly name: string;
  first: number;
  last: number;
  tombstoned: boolean;
};

export const streamColumns = 'id, name, first, last, tombstoned, sum';

export const streamSum = ({ id, name, first, last, tombstoned }: StreamHead): number =>
  rowSum(id, name, first, last, tombstoned ? 1 : 0);

export const checkedStream = (row: Record<string, unknown>, damage: DamageReporter): StreamHead => {
  const head = {
    id: Number(row.id),
    name: String(row.name),
    first: Number(row.first),
    last: Number(row.last),
    tombstoned: row.tombstoned !== 0,
  };
  if (row.sum !== streamSum(head)) throw damage.content(`the entry of stream ${head.name} (number ${head.id})`);
  return head;
};
