import { readFile } from 'node:fs/promises';
import { type Config, readConfig } from '#infra/config.ts';

/** Wrong usage: told in a sentence, without a stack; the program ends with 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

const readConfigFile = async (): Promise<string | undefined> =>
  readFile('sendense.config.json', 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });

/** The settings of this program's environment and working directory. Throws `ConfigError`. */
export const loadConfig = async (): Promise<Config> => readConfig(process.env, await readConfigFile());
