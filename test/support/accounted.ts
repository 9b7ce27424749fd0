import assert from 'node:assert/strict';
import type { AuditVerification } from '#commands/verify-audit.ts';
import { runCli } from './program.ts';

export type WireUnexplained = Readonly<{
  ok: boolean;
  judged: number;
  unexplained: number;
  pending: number;
  findings: readonly Readonly<{ stream: string; revision: string; position: string; type: string; why: string }>[];
  trail: AuditVerification;
}>;

/** What `audit unexplained` says of a data directory, be its hub at work or not. */
export const askUnexplained = async (dataDir: string, ...args: readonly string[]) => {
  const settings = { SENDENSE_DATA_DIR: dataDir, SENDENSE_LOG: 'error' };
  const { exitCode, stdout, stderr } = await runCli(['audit', 'unexplained', '--json', ...args], settings, dataDir);
  assert.ok(stdout, stderr);
  return { exitCode, ...(JSON.parse(stdout) as WireUnexplained) };
};

/** Everything that a hub has in its log comes from a command that was recorded, or follows from one. */
export const assertAccountedFor = async (dataDir: string): Promise<void> => {
  const { exitCode, findings, trail, unexplained } = await askUnexplained(dataDir);
  assert.equal(trail.difference, null);
  const told = findings.map(({ stream, revision, type, why }) => `${stream}@${revision} ${type}: ${why}`);
  assert.deepEqual([exitCode, unexplained, told], [0, 0, []]);
};
