import { createServer } from 'node:net';
import type { PortProbe } from '#process-managers/ports.ts';
import { errnoOf } from '../durable-file.ts';

/** Ports below 1024 without the right to bind them are as good as taken. */
const takenCodes: ReadonlySet<string | undefined> = new Set(['EADDRINUSE', 'EACCES']);

/** Binds for a moment: the only answer that counts listeners of every kind, also those of other users. */
export const createPortProbe = (bindAddress: string): PortProbe => ({
  isFree: (port) =>
    new Promise((resolve, reject) => {
      const server = createServer();
      server.once('error', (error) => (takenCodes.has(errnoOf(error)) ? resolve(false) : reject(error)));
      server.listen({ port, host: bindAddress, exclusive: true }, () => server.close(() => resolve(true)));
    }),
});
