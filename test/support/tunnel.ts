import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A port that stays the same while what is behind it comes and goes, as with the tunnel between a site and its hub. */
export type Tunnel = Readonly<{
  url: string;
  /** Where new connections lead to, `http://HOST:PORT`; undefined: nowhere, they are reset. Open ones stay as they are. */
  leadTo: (url: string | undefined) => void;
  /** Breaks what is open: clients keep connections for their next request. */
  cut: () => void;
  close: () => Promise<void>;
}>;

export const openTunnel = async (): Promise<Tunnel> => {
  let target: URL | undefined;
  const open = new Set<Socket>();
  const keep = (socket: Socket, other: Socket): void => {
    open.add(socket);
    socket
      .on('error', () => undefined)
      .on('close', () => {
        open.delete(socket);
        other.destroy();
      });
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    if (target === undefined) {
      near.on('error', () => undefined).resetAndDestroy();
      return;
    }
    const far = connect({ host: target.hostname, port: Number(target.port), allowHalfOpen: true });
    keep(near, far);
    keep(far, near);
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    leadTo: (url) => {
      target = url === undefined ? undefined : new URL(url);
    },
    cut: () => {
      for (const socket of open) socket.destroy();
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
};
