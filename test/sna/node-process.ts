import { pino } from 'pino';
import { runNode } from '#sna/main.ts';

/** A node in a process of its own, for tests that kill it. Takes its options as JSON; SIGTERM stops it in order. */
const options = JSON.parse(process.argv[2] ?? '{}');
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const node = await runNode(
  { ...options, log: pino({ level: process.env.SENDENSE_TEST_LOG ?? 'silent' }) },
  stop.signal,
);
stop.signal.addEventListener('abort', () => void node.close());
