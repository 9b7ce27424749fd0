import { createHash, randomBytes } from 'node:crypto';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export const operatorTokenPath = (dataDir: string): string => join(dataDir, 'operator.token');

/**
 * A token for the command line of this host: whoever may read the data directory may do everything to it anyway. New at
 * every start, gone with the hub. Returns its SHA-256 in hex, which is all that the hub keeps.
 */
export const issueOperatorToken = async (
  dataDir: string,
): Promise<Readonly<{ sha256: string; withdraw: () => Promise<void> }>> => {
  const path = operatorTokenPath(dataDir);
  const token = randomBytes(32).toString('base64url');
  // A file that a killed hub left keeps its mode when it is overwritten.
  await writeFile(path, `${token}\n`, { mode: 0o600 });
  await chmod(path, 0o600);
  return { sha256: createHash('sha256').update(token).digest('hex'), withdraw: () => rm(path, { force: true }) };
};
