import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { execa } from 'execa';
import { until } from './until.ts';

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
};

export type NbdExport = Readonly<{
  uri: string;
  image: string;
  /** Ends it as the hub does: the image can be trusted afterwards. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}>;

/** What the hub prepares for a disk: a new image, for an incremental backup over its parent, served by qemu-nbd. */
export const exportImage = async (
  image: string,
  sizeBytes: number,
  exportName: string,
  parent?: string,
): Promise<NbdExport> => {
  const options = parent === undefined ? ['-o', 'cluster_size=1M'] : ['-b', parent, '-F', 'qcow2'];
  await execa('qemu-img', ['create', '-q', '-f', 'qcow2', ...options, image, String(sizeBytes)]);
  const port = await freePort();
  const listen = ['--persistent', '--shared=10', '--bind=127.0.0.1', `--port=${port}`, `--export-name=${exportName}`];
  const cache = ['--cache=none', '--aio=threads', '--discard=unmap', '--detect-zeroes=unmap'];
  const pidFile = `${image}.pid`;
  const child = execa('qemu-nbd', [...listen, ...cache, '--format=qcow2', `--pid-file=${pidFile}`, image], {
    reject: false,
    stdin: 'ignore',
  });
  await until(
    () =>
      child.exitCode ??
      stat(pidFile).then(
        () => true,
        () => false,
      ),
  );
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
