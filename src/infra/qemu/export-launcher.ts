import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { PermanentFailure, type StartExport } from '#process-managers/ports.ts';
import { createDirectIoCheck } from './direct-io.ts';
import { pidArgument, type RunningRecord } from './export-lookup.ts';
import { type ExportProcess, launch } from './export-process.ts';
import type { ExportRecords } from './export-records.ts';

export type AioMode = 'io_uring' | 'native' | 'threads';

export type LauncherOptions = Readonly<{
  bindAddress: string;
  aio: AioMode;
  records: ExportRecords;
  log: Pick<Logger, 'warn'>;
  program?: string;
}>;

export type Launched = Readonly<{ record: RunningRecord; process: ExportProcess }>;

/**
 * `--shared`: qemu-nbd(8) serves one client by default and lets a second one wait for ever; the backup client opens two.
 * `-t`: it stays when the last client leaves, because clients connect again.
 */
const argumentsFor = (request: StartExport, pidPath: string): readonly string[] => [
  ...['-f', 'qcow2', '-x', request.exportName],
  ...[`--shared=${request.sharedConnections}`, '-t', ...(request.readOnly ? ['-r'] : [])],
  ...['--discard=unmap', '--detect-zeroes=unmap', pidArgument(pidPath)],
];

/** Without the host's cache a full copy takes half the time; `threads` is what is left where that cannot be had. */
const cacheArguments = (aio: AioMode, takesDirectIo: boolean): readonly string[] =>
  takesDirectIo ? ['--cache=none', `--aio=${aio}`] : ['--cache=writeback', '--aio=threads'];

/** Docker's default seccomp profile and `kernel.io_uring_disabled` forbid io_uring. */
const lacksIoUring = (error: unknown): boolean =>
  error instanceof PermanentFailure && error.message.includes('io_uring');

const listenScript = fileURLToPath(new URL('./listen-without-delay.pl', import.meta.url));

/** Starts a process for an export that has none. Leaves a record and a listening process, or neither. */
export const createExportLauncher = (
  options: LauncherOptions,
): ((request: StartExport, signal: AbortSignal) => Promise<Launched>) => {
  const { bindAddress, records, log, program = 'qemu-nbd' } = options;
  const takesDirectIo = createDirectIoCheck();
  let aio = options.aio;

  const launchWith = async (request: StartExport, mode: AioMode, signal: AbortSignal): Promise<ExportProcess> => {
    const { exportId, imagePath, port } = request;
    const pidPath = records.pidPath(exportId);
    const logPath = records.logPath(exportId);
    const cache = cacheArguments(mode, await takesDirectIo(imagePath));
    const serving = [program, ...argumentsFor(request, pidPath), ...cache, imagePath];
    const args = [listenScript, bindAddress, `${port}`, ...serving];
    return launch({ program: 'perl', args, pidPath, logPath, port }, signal);
  };

  const launchAnyhow = async (request: StartExport, signal: AbortSignal): Promise<ExportProcess> => {
    const mode = aio;
    try {
      return await launchWith(request, mode, signal);
    } catch (error) {
      if (mode !== 'io_uring' || !lacksIoUring(error)) throw error;
      log.warn({ reason: String(error) }, 'io_uring cannot be used on this host, native AIO serves instead');
      aio = 'native';
      return launchWith(request, aio, signal);
    }
  };

  return async (request, signal) => {
    const { exportId, exportName, port, imagePath, readOnly, sharedConnections } = request;
    const startedAt = new Date().toISOString();
    const wanted = { exportId, exportName, port, imagePath, readOnly, sharedConnections, startedAt };
    let process: ExportProcess | undefined;
    try {
      await records.write(wanted);
      process = await launchAnyhow(request, signal);
      const record = { ...wanted, process: process.identity };
      await records.write(record);
      return { record, process };
    } catch (error) {
      await process?.kill('SIGKILL');
      await process?.ended;
      await records.remove(exportId);
      throw error;
    }
  };
};
