import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ByteSpan, ImageUnreadable } from '#commands/export-disk.ts';
import { startTied, type TiedProcess } from './tied-process.ts';
import { waitFor } from './wait-for.ts';
import type { WorkingFolder, WorkingFolders } from './working-folders.ts';

const startTimeoutMs = 10_000;
const sectorBytes = 512;

/** In qemu's options a comma separates; a doubled one is itself. */
export const quoted = (value: string): string => value.replaceAll(',', ',,');

/*
 * A socket in the folder that both programs stand in, whatever the length of its path: unix(7) allows 107 bytes, and
 * qemu-nbd wants an absolute path.
 */
const serverSocket = '/proc/self/cwd/disk.sock';
const clientUri = 'nbd+unix:///?socket=disk.sock';

const serve = (imagePath: string, { offset, length }: ByteSpan, folder: string): TiedProcess => {
  const image = `driver=raw,offset=${offset},size=${length},file.driver=qcow2,file.file.filename=${quoted(imagePath)}`;
  const args = ['--read-only', `--socket=${serverSocket}`, '--pid-file=disk.pid', '--image-opts', image];
  return startTied('qemu-nbd', args, folder);
};

const waitUntilServed = async (server: TiedProcess, folder: string, signal: AbortSignal): Promise<void> => {
  // Written last: by then the image and all below it are open.
  const listens = () =>
    stat(join(folder, 'disk.pid')).then(
      () => true,
      () => false,
    );
  const settled = await waitFor(async () => server.isOver() || (await listens()), startTimeoutMs, signal);
  if (!settled) throw new Error(`qemu-nbd did not serve the disk within ${startTimeoutMs / 1000} s`);
  if (server.isOver()) throw new ImageUnreadable((await server.ended).words);
};

/** The pieces of a stream without what was read too much before and behind. */
async function* trimmed(
  pieces: AsyncIterable<Buffer>,
  { offset: skip, length }: ByteSpan,
): AsyncGenerator<Buffer, number> {
  let seen = 0;
  for await (const piece of pieces) {
    const from = Math.max(0, skip - seen);
    const to = Math.min(piece.length, skip + length - seen);
    if (from < to) yield from === 0 && to === piece.length ? piece : piece.subarray(from, to);
    seen += piece.length;
  }
  return seen;
}

type Source = Readonly<{ imagePath: string; sizeBytes: number }>;

async function* readIn(
  { imagePath, sizeBytes }: Source,
  span: ByteSpan,
  folder: WorkingFolder,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  // qemu reads whole sectors.
  const start = Math.floor(span.offset / sectorBytes) * sectorBytes;
  const end = Math.min(Math.ceil((span.offset + span.length) / sectorBytes) * sectorBytes, sizeBytes);
  const programs = [serve(imagePath, { offset: start, length: end - start }, folder.path)];
  const stop = (): void => {
    for (const { kill } of programs) kill();
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    for (const server of programs) await waitUntilServed(server, folder.path, signal);
    const client = startTied('nbdcopy', [clientUri, '-'], folder.path);
    programs.push(client);
    const seen = yield* trimmed(client.stdout, { offset: span.offset - start, length: span.length });
    const { ok, words } = await client.ended;
    signal.throwIfAborted();
    if (!ok || seen !== end - start) throw new Error(`the disk ended after ${seen} of ${end - start} bytes: ${words}`);
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
    await Promise.all(programs.map(({ ended }) => ended));
  }
}

/**
 * Bytes of a disk as its chain of images tells them. qemu-nbd opens the chain and shows the wanted part of the disk on a
 * unix socket, nbdcopy reads that in order and writes it to the pipe that is passed on here: the hub's memory holds one
 * piece of 64 KiB at a time, and a reader that is slow slows nbdcopy. Sockets of HTTP cannot be given to nbdcopy itself: they do
 * not block, and it takes that for an error.
 */
export async function* readImage(
  folders: WorkingFolders,
  source: Source,
  span: ByteSpan,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  if (span.length === 0) return;
  signal.throwIfAborted();
  const folder = await folders.make();
  try {
    yield* readIn(source, span, folder, signal);
  } finally {
    await folder.remove();
  }
}
