import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { type Program, startProgram } from './program.ts';

const unlimited = '1000G';
/** Bits per second: 2 MiB/s, so that some ten MiB keep a transfer in its middle for as long as a test needs. */
const crawling = '16M';

/** A source whose speed a test sets: an nbdkit in front of the real one that adds its rate limit. */
export type Brake = Readonly<{
  path: string;
  /** For transfers that run and those that start later. */
  on: () => Promise<void>;
  off: () => Promise<void>;
}>;

const script = (nbdkit: string, rateFile: string): string => `#!/bin/sh
exec ${nbdkit} --filter=rate "$@" rate-file=${rateFile}
`;

export const makeBrake = async (folder: string): Promise<Brake> => {
  const path = join(folder, 'bin');
  const rateFile = join(folder, 'rate');
  const { stdout: nbdkit } = await execa('which', ['nbdkit']);
  await mkdir(path);
  await writeFile(join(path, 'nbdkit'), script(nbdkit, rateFile));
  await chmod(join(path, 'nbdkit'), 0o755);
  const set = async (rate: string): Promise<void> => {
    await writeFile(`${rateFile}.new`, `${rate}\n`);
    await rename(`${rateFile}.new`, rateFile);
  };
  await set(unlimited);
  return { path, on: () => set(crawling), off: () => set(unlimited) };
};

export type NodeOptions = Readonly<{
  folder: string;
  dataDir: string;
  root: string;
  hubUrl: string;
  /** Folder of programs that come before the system's. */
  programs: string;
}>;

/** A node appliance of its own with the lab source. */
export const startNode = ({ folder, dataDir, root, hubUrl, programs }: NodeOptions): Promise<Program> => {
  const source = ['--source', 'disk-image', '--root', root];
  return startProgram({
    args: ['node', ...source, '--http', '127.0.0.1:0', '--hub', hubUrl, '--data-dir', dataDir],
    env: { TMPDIR: join(folder, 'tmp'), PATH: `${programs}:${process.env.PATH ?? '/usr/bin:/bin'}` },
    ...{ folder, dataDir, addressFile: 'node.json', logFile: join(folder, 'node.log') },
  });
};
