import { repositoryRootsDecider } from '#domain/repository/roots.ts';
import { streamOf } from '#domain/streams.ts';
import type { AuditLog } from './audit-log.ts';
import type { AnchorFiles, AuditAnchor } from './audit-ports.ts';
import { load } from './handle.ts';
import type { EventStore } from './ports.ts';

/** Directories of a storage node's repositories, from the log alone: no read model is asked. */
export const repositoryRootsOf = async (store: EventStore, storageNode: string): Promise<readonly string[]> => {
  const stream = streamOf.repositoryRoots(storageNode);
  const { state } = await load(store, repositoryRootsDecider, stream);
  return state.roots.map(({ realPath }) => realPath);
};

type Deps = Readonly<{
  store: EventStore;
  log: Pick<AuditLog, 'anchor'>;
  files: AnchorFiles;
  storageNode: string;
  /** A repository that cannot be reached gets its anchor the next time. */
  onProblem: (problem: Readonly<{ rootPath: string; error: unknown }>) => void;
}>;

/**
 * Writes where the trail stands into each repository, when it has grown since. Whoever rewrites the log afterwards would have
 * to rewrite these files as well, on every repository and every copy of one.
 */
export const createWriteAuditAnchors = ({ store, log, files, storageNode, onProblem }: Deps) => {
  const written = new Map<string, string>();

  const newestIn = async (rootPath: string): Promise<string | undefined> =>
    written.get(rootPath) ?? (await files.read(rootPath)).anchors.at(-1)?.hash;

  const write = async (rootPath: string, anchor: AuditAnchor): Promise<void> => {
    try {
      if ((await newestIn(rootPath)) !== anchor.hash) await files.append(rootPath, anchor);
      written.set(rootPath, anchor.hash);
    } catch (error) {
      onProblem({ rootPath, error });
    }
  };

  return async (): Promise<void> => {
    const anchor = await log.anchor();
    if (!anchor) return;
    const roots = await repositoryRootsOf(store, storageNode);
    await Promise.all(roots.map((rootPath) => write(rootPath, anchor)));
  };
};
