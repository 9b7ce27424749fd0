import { dirname } from 'node:path';
import { type DiskImages, type ImageFacts, PermanentFailure, type SideFiles } from '#process-managers/ports.ts';

type FakeImage = { virtualSizeBytes: number; basePath: string | null; actualSizeBytes: number; sealed: boolean };

export type FakeDiskImages = DiskImages &
  Readonly<{
    files: Map<string, FakeImage>;
    sideFiles: SideFiles & Readonly<{ written: Map<string, object> }>;
    /** Called before each effect; throws what the real one would. */
    trouble: { before: (what: 'create' | 'inspect' | 'seal' | 'delete' | 'write', path: string) => void };
    created: string[];
    deleted: string[];
  }>;

/** Images and the files beside them, in memory, with the promises of the real ones. */
export const createFakeDiskImages = (): FakeDiskImages => {
  const files = new Map<string, FakeImage>();
  const written = new Map<string, object>();
  const trouble: FakeDiskImages['trouble'] = { before: () => undefined };
  const created: string[] = [];
  const deleted: string[] = [];

  const imageAt = (path: string): FakeImage => {
    const image = files.get(path);
    if (image) return image;
    throw new PermanentFailure(`Could not open '${path}': No such file or directory`);
  };

  return {
    ...{ files, trouble, created, deleted },
    create: async ({ imagePath, virtualSizeBytes, basePath }) => {
      trouble.before('create', imagePath);
      if (basePath !== undefined) imageAt(basePath);
      if (files.has(imagePath)) return;
      created.push(imagePath);
      files.set(imagePath, { virtualSizeBytes, basePath: basePath ?? null, actualSizeBytes: 196_624, sealed: false });
    },
    inspect: async (imagePath): Promise<ImageFacts> => {
      trouble.before('inspect', imagePath);
      const { virtualSizeBytes, actualSizeBytes, basePath } = imageAt(imagePath);
      const backingFile = basePath === null ? null : basePath.slice(dirname(basePath).length + 1);
      const format = { clusterSizeBytes: 65_536, format: 'qcow2', dirty: false };
      return { virtualSizeBytes, actualSizeBytes, backingFile, ...format };
    },
    exists: async (imagePath) => files.has(imagePath),
    seal: async (imagePath) => {
      trouble.before('seal', imagePath);
      imageAt(imagePath).sealed = true;
    },
    delete: async (imagePath) => {
      trouble.before('delete', imagePath);
      deleted.push(imagePath);
      files.delete(imagePath);
      for (const path of [imagePath, `${imagePath}.json`]) written.delete(path);
    },
    sideFiles: {
      written,
      write: async (path, content) => {
        trouble.before('write', path);
        written.set(path, JSON.parse(JSON.stringify(content)) as object);
      },
    },
  };
};
