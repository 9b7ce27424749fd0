import { z } from 'zod';
import { runProgram } from '../qemu/program.ts';

/** A stretch of the disk that a partition table names. */
export type Partition = Readonly<{
  /** As the kernel counts: logical partitions of an MBR begin at 5. */
  number: number;
  offsetBytes: number;
  sizeBytes: number;
}>;

const Table = z.object({
  partitiontable: z.object({
    label: z.string(),
    sectorsize: z.int().positive().default(512),
    partitions: z
      .array(
        z.object({ node: z.string(), start: z.int().nonnegative(), size: z.int().nonnegative(), type: z.string() }),
      )
      .default([]),
  }),
});

/** Types of an MBR's entry that hold the logical partitions and no data of their own. */
const extendedTypes = new Set(['5', 'f', '85']);
const timeoutMs = 10_000;

export const parsePartitionTable = (json: string): readonly Partition[] => {
  const { label, sectorsize, partitions } = Table.parse(JSON.parse(json)).partitiontable;
  return partitions
    .filter(({ type }) => label !== 'dos' || !extendedTypes.has(type.toLowerCase()))
    .map(({ node, start, size }) => ({
      number: Number(/\d+$/.exec(node)?.[0] ?? 0),
      offsetBytes: start * sectorsize,
      sizeBytes: size * sectorsize,
    }))
    .toSorted((a, b) => a.offsetBytes - b.offsetBytes);
};

/** The partitions of a disk in disk order. Throws what sfdisk says of a table that it cannot read. */
export const readPartitions = async (diskPath: string, signal: AbortSignal): Promise<readonly Partition[]> =>
  parsePartitionTable(await runProgram('sfdisk', ['--json', diskPath], timeoutMs, signal));
