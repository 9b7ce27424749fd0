import { dirname } from 'node:path';
import type { SideFiles } from '#process-managers/ports.ts';
import { syncDirectory, writeComplete } from './durable-file.ts';

/** Indented, because people read these when the hub is gone. */
export const createSideFiles = (): SideFiles => ({
  write: async (path, content) => {
    await writeComplete(path, (file) => file.writeFile(`${JSON.stringify(content, null, 2)}\n`));
    await syncDirectory(dirname(path));
  },
});
