// Serves the files below one folder on a free port, as a hub serves a mount, and nothing else: `node … <folder>`.
import type { AuditTrail } from '#commands/audit-ports.ts';
import { createApp } from '#http/app.ts';
import { createAuthenticate } from '#http/auth.ts';
import { listen } from '#http/listen.ts';
import { createLogger } from '#infra/logger.ts';
import { restoredFiles } from '../../src/composition/restored-files.ts';
import { sessionsFor } from '../http/support.ts';
import { mountedFolders, mountOfFolders, partitionAt } from '../support/mounted-folders.ts';

const [, , folder = ''] = process.argv;
const log = createLogger({ level: 'error' });
const trail: AuditTrail = { record: async () => undefined };
const mounts = mountedFolders(mountOfFolders({ partitions: [partitionAt(folder)] }));
const authenticate = createAuthenticate({
  ...{ enabled: false, loopbackCallbacks: false, sessions: sessionsFor(), staticTokens: [], cors: [] },
});
const endpoints = restoredFiles({ mounts: mounts.access, trail, log });
const server = await listen(createApp({ endpoints, authenticate, log, cors: [] }), {
  host: '127.0.0.1',
  port: 0,
  graceMs: 0,
});
process.stdout.write(`${server.url}\n`);
process.once('SIGTERM', () => void server.close().then(() => process.exit()));
