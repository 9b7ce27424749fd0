import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { createDisplay, StepFailed } from '../../src/demo/display.ts';
import { Interrupted } from '../../src/demo/interruption.ts';
import { drawBar } from '../../src/demo/progress-bar.ts';

const fakeScreen = (isTTY: boolean) => {
  let text = '';
  const write = (piece: string | Uint8Array): boolean => {
    text += String(piece);
    return true;
  };
  return { screen: { isTTY, columns: 80, write }, text: () => stripVTControlCharacters(text), raw: () => text };
};

const show = (t: TestContext, isTTY: boolean) => {
  const stop = new AbortController();
  const fake = fakeScreen(isTTY);
  const display = createDisplay(fake.screen, stop.signal);
  t.after(() => display.close());
  return { ...fake, display, stop };
};

const bar = { label: 'disk 0', bytes: 5 * 1024 ** 2, phase: 'transferring' };

test('a file or a pipe gets plain lines: a step’s begin and end, and a disk only when it got on', async (t) => {
  const { display, raw, text } = show(t, false);
  await display.step(
    'Full backup',
    async (bars) => {
      for (const percent of [0, 1, 2, 30, 31, 60, 100]) bars([{ ...bar, percent }]);
    },
    () => '5 MiB',
  );
  const lines = raw().trimEnd().split('\n');
  assert.equal(raw(), text());
  assert.equal(lines[0], '… Full backup');
  assert.match(lines.at(-1) ?? '', /^✔ Full backup 0\.\d s {2}5 MiB$/);
  assert.equal(lines.filter((line) => line.includes('disk 0')).length, 4);
});

test('a terminal is redrawn in place, and only what ended stays', async (t) => {
  const { display, raw, text } = show(t, true);
  await display.step('Full backup', async (bars) => bars([{ ...bar, percent: 50 }]));
  const oneLineUpAndClear = '\x1b[1A\x1b[0J';
  assert.ok(raw().includes(oneLineUpAndClear));
  assert.match(text().trimEnd().split('\n').at(-1) ?? '', /^✔ Full backup/);
});

test('a bar fits the terminal, however narrow, and shows what is half done as half', () => {
  for (const columns of [20, 60, 80, 200]) {
    assert.ok(drawBar({ ...bar, percent: 50 }, columns).length <= columns, `${columns}`);
  }
  assert.match(drawBar({ ...bar, percent: 50 }, 200), /│█{16} {16}│ {2}50 % +5\.0 MiB {2}transferring/);
  assert.match(drawBar({ ...bar, percent: 250 }, 200), /│█{32}│/);
});

test('a step that fails is named with its reason', async (t) => {
  const { display, text } = show(t, false);
  const failing = display.step('Full backup', () => Promise.reject(new Error('the disk is full')));
  await assert.rejects(
    failing,
    (error: StepFailed) => error.step === 'Full backup' && error.message === 'the disk is full',
  );
  assert.match(text(), /✖ Full backup/);
});

test('a step that is given up because another one failed does not hide which', async (t) => {
  const { display, stop, text } = show(t, false);
  stop.abort(new StepFailed('Start a hub', new Error('no port')));
  await assert.rejects(
    display.step('Make a VM', () => Promise.reject(new Error('aborted'))),
    (error: StepFailed) => error.step === 'Start a hub',
  );
  assert.doesNotMatch(text(), /✖/);
});

test('a step that is interrupted has not failed', async (t) => {
  const { display, stop, text } = show(t, false);
  stop.abort(new Interrupted('SIGINT'));
  await assert.rejects(display.step('Make a VM', () => Promise.reject(new Error('aborted'))));
  assert.doesNotMatch(text(), /✖/);
});
