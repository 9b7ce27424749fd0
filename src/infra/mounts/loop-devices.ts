import { setTimeout as delay } from 'node:timers/promises';
import { PermanentFailure } from '#process-managers/ports.ts';
import { runProgram } from '../qemu/program.ts';
import { loopsBelow } from './mount-table.ts';
import type { Stretch } from './probe.ts';

const timeoutMs = 10_000;
/** losetup looks for a free device and then takes it; another one may have taken it in between. */
const attempts = 10;
const pauseMs = 20;

export const attachLoop = async (
  path: string,
  { offsetBytes, sizeBytes }: Stretch,
  signal: AbortSignal,
): Promise<string> => {
  const where = ['--offset', `${offsetBytes}`, '--sizelimit', `${sizeBytes}`];
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await runProgram('losetup', ['--find', '--show', ...where, path], timeoutMs, signal)).trim();
    } catch (error) {
      const lostRace = error instanceof PermanentFailure && /busy|temporarily/i.test(error.message);
      if (!lostRace || attempt === attempts) throw error;
      await delay(pauseMs);
    }
  }
};

/** Content with a device that is free already, and with one that is no loop device. */
export const detachLoop = async (device: string, signal: AbortSignal): Promise<void> => {
  if (!device.startsWith('/dev/loop')) return;
  await runProgram('losetup', ['--detach', device], timeoutMs, signal).catch((error: unknown) => {
    if (!(error instanceof PermanentFailure && /No such device/i.test(error.message))) throw error;
  });
};

/** Of all files below a folder. One that is still in use goes with its last user. */
export const detachLoops = async (folder: string, signal: AbortSignal): Promise<void> => {
  for (const { device } of await loopsBelow(folder)) await detachLoop(device, signal);
};
