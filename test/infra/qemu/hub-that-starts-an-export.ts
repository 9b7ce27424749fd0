/** A hub that starts one export, says so on stdout, and lives until it is killed. `argv[2]`: JSON of options and request. */
import { createQemuNbd } from '#infra/qemu/qemu-nbd.ts';

const { options, request } = JSON.parse(process.argv[2] ?? '{}');
const log = { info: () => undefined, warn: () => undefined };
const exporter = createQemuNbd({ bindAddress: '127.0.0.1', aio: 'io_uring', log, ...options });
const started = await exporter.start(request, new AbortController().signal);
process.stdout.write(`${JSON.stringify(started)}\n`);
setInterval(() => undefined, 60_000);
