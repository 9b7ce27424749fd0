import { parseArgs } from 'node:util';

export type DemoOptions = Readonly<{
  /** One JSON object on stdout instead of the report. */
  json: boolean;
  /** End after the report instead of serving until Ctrl-C. */
  exit: boolean;
  /** Capacity of the VM, all disks together. */
  sizeBytes: number;
}>;

/** Wrong usage, in a sentence. */
export class DemoUsage extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DemoUsage';
  }
}

const mib = 1024 ** 2;
const units: Readonly<Record<string, number>> = { M: mib, G: 1024 * mib };
// Less holds no filesystem worth looking at; more would fill a disk for no insight.
const least = 128 * mib;
const most = 64 * 1024 * mib;

const parseSize = (text: string): number => {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([MG])(?:i?B)?$/i.exec(text) ?? [];
  const sizeBytes = Math.floor((Number(number) * (units[unit.toUpperCase()] ?? Number.NaN)) / mib) * mib;
  if (sizeBytes >= least && sizeBytes <= most) return sizeBytes;
  throw new DemoUsage(`--size must be 128M to 64G, such as 2G, not "${text}"`);
};

/** Reads the command line; throws DemoUsage. */
export const readOptions = (args: readonly string[]): DemoOptions => {
  const options = {
    json: { type: 'boolean', default: false },
    exit: { type: 'boolean', default: false },
    size: { type: 'string', default: '2G' },
  } as const;
  try {
    const { values } = parseArgs({ args: [...args], options, allowPositionals: false, strict: true });
    return { json: values.json, exit: values.exit, sizeBytes: parseSize(values.size) };
  } catch (error) {
    throw error instanceof DemoUsage ? error : new DemoUsage(error instanceof Error ? error.message : String(error));
  }
};
