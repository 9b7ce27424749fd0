// Measures the embedded event store: `node … <folder> [--quick]`. Tells how it gets on on stderr, and the outcome as JSON on stdout.
import { measureEventStore } from './event-store-measure.ts';

const [, , folder = '', mode] = process.argv;
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const outcome = await measureEventStore({ folder, quick: mode === '--quick', say, signal: stop.signal });
process.stdout.write(JSON.stringify(outcome));
