/** Several event stores in one process, so that one kill hits them all: one round each. Takes their data directories. */
import { createEventStoreServer } from '#infra/embedded-event-store/server.ts';

const servers = await Promise.all(process.argv.slice(2).map((dataDir) => createEventStoreServer({ dataDir })));
process.stdout.write(`${JSON.stringify(servers.map(({ port }) => port))}\n`);
process.stdin.on('end', () => process.exit(0)).resume();
