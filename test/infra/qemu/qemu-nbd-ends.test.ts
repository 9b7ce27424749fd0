import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { test } from 'node:test';
import { judgeEnd } from '#infra/qemu/export-stop.ts';
import type { DiskExport } from '#process-managers/ports.ts';
import { eventually, exporterFixture, isRunning, neverAborted } from './exporter-fixture.ts';

type Ended = DiskExport & Readonly<{ detail: string }>;

test('a killed process is told of at once and once, with how it ended; its stop is unclean', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  const ended: Ended[] = [];
  exporter.onUnexpectedExit((end) => ended.push(end));
  const unsubscribed: Ended[] = [];
  exporter.onUnexpectedExit((end) => unsubscribed.push(end))();
  const started = await exporter.start(await request(), neverAborted);
  process.kill(started.pid, 'SIGKILL');
  await eventually('the end is told', async () => ended.length > 0);
  assert.deepEqual(ended, [{ ...started, detail: 'qemu-nbd ended with signal SIGKILL' }]);
  await exporter.list();
  assert.deepEqual(await exporter.stop(started.exportId, neverAborted), {
    outcome: 'unclean',
    detail: 'qemu-nbd ended with signal SIGKILL',
  });
  assert.equal(ended.length, 1);
  assert.deepEqual(unsubscribed, []);
});

test('a process that another hub started is told of as well', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const first = hub();
  const started = await first.start(await request(), neverAborted);
  first.close();
  const second = hub();
  const ended: Ended[] = [];
  second.onUnexpectedExit((end) => ended.push(end));
  await second.list();
  process.kill(started.pid, 'SIGKILL');
  await eventually('the end is told', async () => ended.length > 0);
  assert.deepEqual(ended, [{ ...started, detail: 'qemu-nbd is gone' }]);
  assert.equal((await second.stop(started.exportId, neverAborted)).outcome, 'unclean');
});

test('a stop is not told of, and a new start after an end serves again', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  const ended: Ended[] = [];
  exporter.onUnexpectedExit((end) => ended.push(end));
  const wanted = await request();
  await exporter.start(wanted, neverAborted);
  await exporter.stop(wanted.exportId, neverAborted);
  const { pid } = await exporter.start(wanted, neverAborted);
  process.kill(pid, 'SIGKILL');
  await eventually('the second end is told', async () => ended.length > 0);
  const again = await exporter.start(wanted, neverAborted);
  assert.notEqual(again.pid, pid);
  assert.equal((await exporter.stop(wanted.exportId, neverAborted)).outcome, 'clean');
  assert.deepEqual(
    ended.map((end) => end.pid),
    [pid],
  );
});

test('a process that does not react is killed after 5 s, and that is unclean', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  const { exportId, pid } = await exporter.start(await request(), neverAborted);
  process.kill(pid, 'SIGSTOP');
  const stopped = await exporter.stop(exportId, neverAborted);
  assert.equal(stopped.outcome, 'unclean');
  assert.match(stopped.detail, /was killed/);
  assert.equal(await isRunning(pid), false);
});

/** proc(5): the bit of a signal that waits for a stopped process. */
const hasPendingTerm = async (pid: number): Promise<boolean> => {
  const pending = /ShdPnd:\s*([0-9a-f]+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${pending}`) & (1n << BigInt(constants.signals.SIGTERM - 1))) !== 0n;
};

test('a stop that was given up while the process ended knows how it ended when it is repeated', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  const ended: Ended[] = [];
  exporter.onUnexpectedExit((end) => ended.push(end));
  const { exportId, pid } = await exporter.start(await request(), neverAborted);
  const abort = new AbortController();
  process.kill(pid, 'SIGSTOP');
  const stopping = assert.rejects(exporter.stop(exportId, abort.signal), /shutting down/);
  await eventually('SIGTERM was sent', () => hasPendingTerm(pid));
  abort.abort(new Error('shutting down'));
  await stopping;
  process.kill(pid, 'SIGCONT');
  await eventually('it ended', async () => !(await isRunning(pid)));
  assert.equal((await exporter.stop(exportId, neverAborted)).outcome, 'clean');
  assert.deepEqual(ended, []);
});

const inOrder = { readOnly: false, ended: 'in-order', words: '' } as const;
const code0 = { code: 0, signal: null };
const judged = [
  {
    what: 'exit code 0 without a flush',
    facts: { flush: unreachable(), exit: code0 },
    outcome: 'clean',
  },
  { what: 'exit code 0 after a refused flush', facts: { flush: refused(), exit: code0 }, outcome: 'unclean' },
  { what: 'another exit code', facts: { flush: acknowledged(), exit: { code: 1, signal: null } }, outcome: 'unclean' },
  {
    what: 'an unknown exit after an acknowledged flush',
    facts: { flush: acknowledged(), exit: undefined },
    outcome: 'clean',
  },
  { what: 'an unknown exit without a flush', facts: { flush: unreachable(), exit: undefined }, outcome: 'unclean' },
] as const;
for (const { what, facts, outcome } of judged) {
  test(`${what} is judged ${outcome}`, () => {
    assert.equal(judgeEnd({ ...inOrder, ...facts }).outcome, outcome);
  });
}

function acknowledged() {
  return { result: 'acknowledged', detail: 'ok' } as const;
}
function refused() {
  return { result: 'refused', detail: 'no space' } as const;
}
function unreachable() {
  return { result: 'unreachable', detail: 'no flush' } as const;
}
