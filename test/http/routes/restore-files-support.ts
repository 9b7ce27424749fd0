import { mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import type { OpenMount } from '#commands/file-restore-ports.ts';
import type { AuditEntry } from '#domain/audit/entry.ts';
import { restoredFiles } from '../../../src/composition/restored-files.ts';
import { mountedFolders, mountOfFolders, partitionAt, temporaryFolder } from '../../support/mounted-folders.ts';
import { serveApp } from '../support.ts';

/** Files of two mounts, `single` and `parted`, over HTTP. */
export const filesOverHttp = async (t: TestContext, given: Partial<OpenMount> = {}) => {
  const root = await temporaryFolder(t);
  const partitions = [
    partitionAt(join(root, 'one'), { number: 1, label: 'System/Boot', sizeBytes: 104_857_600 }),
    partitionAt(join(root, 'two'), { number: 2, sizeBytes: 107_803_858_534 }),
  ];
  for (const { rootPath } of partitions) await mkdir(rootPath);
  const single = join(root, 'single');
  await mkdir(join(single, 'folder/sub'), { recursive: true });
  await writeFile(join(single, 'folder/hello.txt'), 'hello, file');
  await writeFile(join(single, 'folder/sub/page.html'), '<script>');
  await writeFile(join(single, 'empty'), '');
  await symlink('folder/hello.txt', join(single, 'link'));
  await symlink('/etc/passwd', join(single, 'outside'));
  await utimes(join(single, 'folder/hello.txt'), 1_600_000_000, 1_600_000_000);
  await mkdir(join(root, 'two/System Volume Information'));
  await writeFile(join(root, 'two/System Volume Information/log'), 'second');
  const mounts = mountedFolders(
    mountOfFolders({ mountId: 'single', partitions: [partitionAt(single)], ...given }),
    mountOfFolders({ mountId: 'parted', partitioned: true, partitions }),
  );
  const entries: AuditEntry[] = [];
  const trail = { record: async (entry: AuditEntry) => void entries.push(entry) };
  const log = pino({ level: 'silent' });
  const { url, lines } = await serveApp(t, { endpoints: restoredFiles({ mounts: mounts.access, trail, log }) });
  const at = (mount: string, route: string, query: Readonly<Record<string, string>>): string =>
    `${url}/api/v1/restore/${mount}/${route}?${new URLSearchParams(query)}`;
  return {
    ...{ single, root, mounts, entries, lines, at },
    ask: (mount: string, route: string, query: Readonly<Record<string, string>> = {}, init: RequestInit = {}) =>
      fetch(at(mount, route, query), init),
    /** Of the audit trail: action, outcome, code. */
    told: () => entries.map(({ action, outcome, code }) => [action, outcome, code].filter(Boolean).join(' ')),
  };
};

export type Listed = Readonly<{
  path: string;
  files: readonly Readonly<{
    name: string;
    path: string;
    type: string;
    size: number;
    mode: string;
    is_symlink: boolean;
  }>[];
  total_count: number;
  truncated?: true;
  next_cursor?: string;
}>;

export const listed = async (response: Response): Promise<Listed> => (await response.json()) as Listed;
