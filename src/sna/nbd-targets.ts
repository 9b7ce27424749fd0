import { Refusal } from './refusal.ts';

export type NbdTarget = Readonly<{ diskKey: number; host: string; port: number; exportName: string }>;

const defaultPort = 10809;
// The tunnel ends on the node's own loopback; a disk's content is never sent anywhere else.
const loopback = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/;

const parseTarget = (text: string): NbdTarget => {
  const [, key, address] = /^([0-9]{1,9}):(.+)$/.exec(text.trim()) ?? [];
  if (key === undefined || address === undefined || !URL.canParse(address)) {
    throw new Refusal(400, `nbd_targets: '${text}' is not <disk key>:nbd://<host>:<port>/<export>`);
  }
  const url = new URL(address);
  const exportName = decodeExportName(url.pathname.slice(1));
  if (url.protocol !== 'nbd:' || exportName === '' || url.search !== '' || url.username !== '') {
    throw new Refusal(400, `nbd_targets: '${address}' is not nbd://<host>:<port>/<export>`);
  }
  if (!loopback.test(url.hostname)) throw new Refusal(400, `nbd_targets: '${url.hostname}' is not this host`);
  return {
    diskKey: Number(key),
    host: url.hostname,
    port: url.port === '' ? defaultPort : Number(url.port),
    exportName,
  };
};

const decodeExportName = (encoded: string): string => {
  try {
    return decodeURIComponent(encoded);
  } catch (cause) {
    throw new Refusal(400, `nbd_targets: export name '${encoded}' is not URL-encoded`, { cause });
  }
};

/** Two disks with one key or one export would write into each other's images. */
export const parseNbdTargets = (text: string): readonly NbdTarget[] => {
  const targets = text.split(',').map(parseTarget);
  const unique = (name: string, values: readonly unknown[]) => {
    if (new Set(values).size !== values.length) throw new Refusal(400, `nbd_targets: two disks share one ${name}`);
  };
  unique(
    'disk key',
    targets.map(({ diskKey }) => diskKey),
  );
  unique(
    'export',
    targets.map(({ host, port, exportName }) => `${host}:${port}/${exportName}`),
  );
  return targets;
};

/** Built from checked parts, so that nothing of a request reaches a command line as it came. */
export const nbdUri = ({ host, port, exportName }: NbdTarget): string =>
  `nbd://${host}:${port}/${encodeURIComponent(exportName)}`;
