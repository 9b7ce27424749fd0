import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metrics } from './registry.ts';

/** Files come and go while they are counted. */
const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ blocks }) => blocks * 512, // stat(2): st_blocks counts 512 bytes
    () => 0,
  );

/** What the files of a folder take on the disk; its own folders hold no data and are left out. */
const folderBytes = async (folder: string): Promise<number> => {
  const entries = await readdir(folder, { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(({ name }) => sizeOf(join(folder, name))));
  return sizes.reduce((sum, bytes) => sum + bytes, 0);
};

/** The file system of the data directory: without room on it the embedded stores stop. */
export const addDataDirMetrics = (metrics: Metrics, dataDir: string): void => {
  const size = metrics.gauge({
    name: 'sendense_data_dir_size_bytes',
    help: 'Size of the file system of the data directory',
  });
  const available = metrics.gauge({
    name: 'sendense_data_dir_available_bytes',
    help: 'What of it can still be taken',
  });
  metrics.addSource({
    name: 'data-dir',
    gauges: [size, available],
    read: () => statfs(dataDir),
    write: ({ blocks, bavail, bsize }) => {
      size.set(blocks * bsize);
      available.set(bavail * bsize);
    },
  });
};

/** Only of the event store that the hub runs itself; another one has metrics of its own. */
export const addEmbeddedStoreMetrics = (metrics: Metrics, folder: string): void => {
  const size = metrics.gauge({
    name: 'sendense_event_store_size_bytes',
    help: 'What the embedded event store takes on the disk',
  });
  metrics.addSource({
    name: 'event-store-files',
    gauges: [size],
    read: () => folderBytes(folder),
    write: (bytes) => size.set(bytes),
  });
};
