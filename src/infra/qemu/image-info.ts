import { z } from 'zod';
import { runProgram } from './program.ts';

const timeoutMs = 30_000;

const Chain = z.array(z.object({ filename: z.string(), 'virtual-size': z.int(), format: z.string() })).min(1);
const Measured = z.object({ required: z.int() });

export type ImageChain = Readonly<{ virtualSizeBytes: number; files: readonly string[] }>;

/** Opens an image with all that it builds on, newest first. Throws `PermanentFailure` in qemu-img's own words. */
export const inspectChain = async (imagePath: string, signal: AbortSignal): Promise<ImageChain> => {
  const args = ['info', '--output=json', '--backing-chain', '--force-share', '-f', 'qcow2', imagePath];
  const images = Chain.parse(JSON.parse(await runProgram('qemu-img', args, timeoutMs, signal)));
  return { virtualSizeBytes: images[0]?.['virtual-size'] ?? 0, files: images.map(({ filename }) => filename) };
};

/**
 * What the data of a disk takes without its chain; looks at tables, not at data. Asked as for qcow2, since for raw qemu-img
 * tells the size of the disk, holes included.
 */
export const measureData = async (imagePath: string, signal: AbortSignal): Promise<number> => {
  const args = ['measure', '--output=json', '--force-share', '-f', 'qcow2', '-O', 'qcow2', imagePath];
  return Measured.parse(JSON.parse(await runProgram('qemu-img', args, timeoutMs, signal))).required;
};
