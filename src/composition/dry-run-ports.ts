import { access, constants, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SecretVault } from '#commands/credential-ports.ts';
import type { RepositoryStorage } from '#infra/repository-storage.ts';
import type { DiskExport, DiskExporter } from '#process-managers/ports.ts';

/** What a dry run would have done to the world, kept so that later steps of the same command see it. */
export type DryRunEffects = Readonly<{
  /** In words, for the reply. */
  say: string[];
  keptSecrets: Map<string, string>;
  started: DiskExport[];
  stopped: Set<string>;
}>;

/** Keeps secrets for as long as the request, and forgets none. */
export const dryVault = (vault: SecretVault, { keptSecrets, say }: DryRunEffects): SecretVault => ({
  assertReady: vault.assertReady,
  list: vault.list,
  keep: async (reference, secret) => {
    vault.assertReady();
    keptSecrets.set(reference, secret);
    say.push('The vault keeps the password, encrypted.');
  },
  reveal: async (reference) => keptSecrets.get(reference) ?? vault.reveal(reference),
  forget: async (reference) => {
    if (!keptSecrets.delete(reference)) say.push('The vault destroys the old password.');
  },
});

/** Of a path that may be missing: the nearest folder above it that exists. */
const existingAbove = async (path: string): Promise<string> => {
  for (let candidate = path; ; candidate = dirname(candidate)) {
    const found = await stat(candidate).catch(() => undefined);
    if (found || candidate === dirname(candidate)) return candidate;
  }
};

/** Looks at a directory where the real test makes it and writes a file: rights and space are judged, not tried. */
export const dryStorage = (storage: RepositoryStorage, { say }: DryRunEffects): RepositoryStorage => ({
  ...storage,
  test: async (path, signal) => {
    const existing = await existingAbove(path);
    if (!(await stat(existing)).isDirectory()) throw new Error(`${existing} is not a folder.`);
    const real = await realpath(existing);
    const may = await access(real, constants.W_OK | constants.X_OK).then(
      () => true,
      () => false,
    );
    if (!may) throw new Error(`${real} may not be written to.`);
    say.push(
      existing === path
        ? `A test file is written to ${path} and removed.`
        : `The folder ${path} is made, and a test file is written to it and removed.`,
    );
    return { ...(await storage.measure(real, signal)), writable: true };
  },
});

/** Starts and stops nothing. A pid that does not exist yet is no number, which JSON shows as null. */
export const dryExporter = <Exporter extends DiskExporter>(
  exporter: Exporter,
  { say, started, stopped }: DryRunEffects,
): Exporter => {
  const list = async (): Promise<readonly DiskExport[]> => [
    ...(await exporter.list()).filter(({ exportId }) => !stopped.has(exportId)),
    ...started,
  ];
  return {
    ...exporter,
    list,
    start: async (request) => {
      const known = (await list()).find(({ exportId }) => exportId === request.exportId);
      if (known) return known;
      const running = { ...request, pid: Number.NaN, startedAt: new Date().toISOString() };
      started.push(running);
      say.push(
        `qemu-nbd serves ${request.imagePath} on port ${request.port}, unless another process holds the image or the port.`,
      );
      return running;
    },
    stop: async (exportId) => {
      stopped.add(exportId);
      say.push(`The export ${exportId} is flushed and ended.`);
      return { outcome: 'clean', detail: '' };
    },
    onUnexpectedExit: () => () => undefined,
  };
};
