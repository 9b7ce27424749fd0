import { access, readFile } from 'node:fs/promises';
import { PermanentFailure } from '#process-managers/ports.ts';
import { adopt } from '../qemu/export-process.ts';
import { endProcess } from '../qemu/export-stop.ts';
import { runProgram } from '../qemu/program.ts';
import { waitFor } from '../qemu/wait-for.ts';
import type { Exposure, ToExpose } from './exposure.ts';
import { attachLoop, detachLoops } from './loop-devices.ts';
import { findServer, makeOverlay, pidPathOf } from './overlay.ts';
import type { Partition } from './partition-table.ts';

/** What the driver asks of the host; told apart so that the order of its commands can be tested without the kernel's NBD. */
export type NbdHost = Readonly<{
  run: typeof runProgram;
  /** Of `/sys/block/<name>/<attribute>`; empty when there is none. */
  attribute: (name: string, attribute: string) => Promise<string>;
  exists: (path: string) => Promise<boolean>;
}>;

const host: NbdHost = {
  run: runProgram,
  attribute: async (name, attribute) => {
    const text = await readFile(`/sys/block/${name}/${attribute}`, 'utf8').catch(() => '');
    return text.trim();
  },
  exists: (path) =>
    access(path).then(
      () => true,
      () => false,
    ),
};

const connectTimeoutMs = 10_000;
const readyTimeoutMs = 10_000;
/** The kernel reads the partition table by itself, if the module was loaded with partitions; else a loop device does. */
const nodeTimeoutMs = 2_000;
const sectorBytes = 512;

export const deviceOfSlot = (slot: number): string => `/dev/nbd${slot}`;
const nameOfSlot = (slot: number): string => `nbd${slot}`;

/** Names the mount among the arguments of all processes. */
const pidArgument = (folder: string): string => `--pid-file=${pidPathOf(folder)}`;

/** Whether somebody, we or another program, is connected: the kernel names the process. */
export const isConnected = async (slot: number, { attribute }: NbdHost = host): Promise<boolean> =>
  (await attribute(nameOfSlot(slot), 'pid')) !== '';

const connect = async (
  { folder, slot, imagePath }: ToExpose,
  { run, attribute }: NbdHost,
  signal: AbortSignal,
): Promise<number> => {
  const { sizeBytes, options } = await makeOverlay(folder, imagePath);
  const device = deviceOfSlot(slot);
  // It goes into the background once the device is connected.
  const args = [`--connect=${device}`, pidArgument(folder), `json:${JSON.stringify(options)}`];
  await run('qemu-nbd', args, connectTimeoutMs, signal);
  // The node is always there; only its size says that it can be read.
  const isReady = async () => Number(await attribute(nameOfSlot(slot), 'size')) * sectorBytes >= sizeBytes;
  if (!(await waitFor(isReady, readyTimeoutMs, signal)))
    throw new PermanentFailure(`${device} has no size ${readyTimeoutMs / 1000} s after it was connected`);
  return sizeBytes;
};

/** For kernels with the nbd module: each slot is one of its devices. */
export const createNbdExposure = (on: NbdHost = host): Exposure => {
  const partitionDevice = async (slot: number, partition: Partition, signal: AbortSignal) => {
    const node = `${deviceOfSlot(slot)}p${partition.number}`;
    return (await waitFor(() => on.exists(node), nodeTimeoutMs, signal)) ? node : undefined;
  };
  return {
    expose: async (request, _diskIndex, signal) => {
      const { slot, folder } = request;
      const path = deviceOfSlot(slot);
      const sizeBytes = await connect(request, on, signal);
      const server = await findServer(folder, pidArgument(folder));
      return {
        ...{ path, sizeBytes, pid: server?.pid ?? null },
        nameOf: ({ number }) => (number === 0 ? nameOfSlot(slot) : `${nameOfSlot(slot)}p${number}`),
        deviceOf: async (stretch, partition, during) => {
          if (partition === undefined && stretch.offsetBytes === 0 && stretch.sizeBytes === sizeBytes) return path;
          const node = partition && (await partitionDevice(slot, partition, during));
          return node ?? attachLoop(path, stretch, during);
        },
      };
    },
    withdraw: async ({ folder, slot }, signal) => {
      const server = await findServer(folder, pidArgument(folder));
      // Without its program the device is free, or another mount's by now.
      if (!server) return;
      if (slot !== null) {
        await detachLoops(deviceOfSlot(slot), signal);
        await on.run('qemu-nbd', ['--disconnect', deviceOfSlot(slot)], connectTimeoutMs, signal);
      }
      await endProcess(adopt(server), signal);
    },
    serving: ({ folder }) => findServer(folder, pidArgument(folder)),
  };
};
