import { stat } from 'node:fs/promises';
import { execa } from 'execa';
import { freePort } from '../../src/demo/free-port.ts';
import { until } from './until.ts';

export type NbdExport = Readonly<{
  uri: string;
  image: string;
  /** Ends it as the hub does: the image can be trusted afterwards. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}>;

export type ExportOptions = Readonly<{
  parent?: string | undefined;
  /** Slows writing, so that a test meets a transfer in its middle. */
  bytesPerSecond?: number | undefined;
}>;

const imageArguments = (image: string, bytesPerSecond: number | undefined): readonly string[] => {
  if (bytesPerSecond === undefined) return ['--format=qcow2', '--cache=none', '--aio=threads', image];
  const file = `file.driver=qcow2,file.file.driver=file,file.file.filename=${image}`;
  const throttle = ['--object', `throttle-group,id=slow,x-bps-write=${bytesPerSecond}`];
  return [...throttle, '--image-opts', `driver=throttle,throttle-group=slow,${file}`];
};

/** What the hub prepares for a disk: a new image, for an incremental backup over its parent, served by qemu-nbd. */
export const exportImage = async (
  image: string,
  sizeBytes: number,
  exportName: string,
  { parent, bytesPerSecond }: ExportOptions = {},
): Promise<NbdExport> => {
  const options = parent === undefined ? ['-o', 'cluster_size=1M'] : ['-b', parent, '-F', 'qcow2'];
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, image, String(sizeBytes)]);
  const port = await freePort();
  const listen = ['--persistent', '--shared=10', '--bind=127.0.0.1', `--port=${port}`, `--export-name=${exportName}`];
  const pidFile = `${image}.pid`;
  const zeroes = ['--discard=unmap', '--detect-zeroes=unmap', `--pid-file=${pidFile}`];
  const child = execa('qemu-nbd', [...listen, ...zeroes, ...imageArguments(image, bytesPerSecond)], {
    reject: false,
    stdin: 'ignore',
  });
  // Ready or dead, whichever comes first: the pid file is written once it listens.
  const ready = until(() =>
    stat(pidFile).then(
      () => true,
      () => false,
    ),
  );
  const died = child.then(({ stderr }) => Promise.reject(new Error(`qemu-nbd ended: ${stderr}`)));
  died.catch(() => undefined);
  await Promise.race([ready, died]);
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    child.kill(signal);
    await child;
  };
  return {
    uri: `nbd://127.0.0.1:${port}/${exportName}`,
    image,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
};
