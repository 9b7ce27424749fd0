import { Readable } from 'node:stream';

/** Read ahead while the client takes what it has. */
const aheadBytes = 256 * 1024;

/**
 * Pieces of a body as a stream that ends with the signal, also while its reader takes nothing: a generator that waits for
 * its reader would not learn of it. Ends without an error, which nobody may be there to see.
 */
export const abortableBody = (pieces: AsyncIterable<Uint8Array>, signal: AbortSignal): Readable => {
  const body = Readable.from(pieces, { objectMode: false, highWaterMark: aheadBytes });
  const end = (): void => {
    body.destroy();
  };
  signal.addEventListener('abort', end, { once: true });
  body.once('close', () => signal.removeEventListener('abort', end));
  if (signal.aborted) end();
  return body;
};
