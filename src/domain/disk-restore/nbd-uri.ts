import { DomainError } from '../errors.ts';

/** A server of the NBD protocol and one of its exports; empty for the default one. */
export type NbdPlace =
  | Readonly<{ type: 'tcp'; host: string; port: number; exportName: string }>
  | Readonly<{ type: 'unix'; socket: string; exportName: string }>;

const defaultPort = 10_809;

const refuse = (why: string): never => {
  throw new DomainError(
    'invalid-request',
    `the NBD address ${why}; give nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH`,
  );
};

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse('is not properly percent-encoded');
  }
};

const tcpOf = ({ hostname, port, search }: URL, exportName: string): NbdPlace => {
  if (hostname === '') return refuse('names no host');
  if (search !== '') return refuse('has a query');
  // An IPv6 address without the brackets that a URI needs.
  const host = decoded(hostname).replace(/^\[(.*)\]$/, '$1');
  return { type: 'tcp', host, port: port === '' ? defaultPort : Number(port), exportName };
};

const unixOf = ({ host, searchParams }: URL, exportName: string): NbdPlace => {
  if (host !== '') return refuse('has a host beside its socket');
  const [socket = '', ...others] = searchParams.getAll('socket');
  if (others.length > 0 || searchParams.size !== 1) return refuse('has another query than one socket');
  if (!socket.startsWith('/')) return refuse('needs the absolute path of a socket');
  return { type: 'unix', socket, exportName };
};

/** As of the NBD URI specification, without TLS and logins: what is not understood is refused, never passed on. */
export const parseNbdUri = (uri: string): NbdPlace => {
  const url = URL.parse(uri);
  if (!url || /[\0-\x20]/.test(uri)) return refuse('is no address');
  if (url.username !== '' || url.password !== '' || url.hash !== '') return refuse('has a login or a fragment');
  const exportName = decoded(url.pathname.replace(/^\//, ''));
  if (exportName.includes('\0')) return refuse('has an export that is no text');
  if (url.protocol === 'nbd:') return tcpOf(url, exportName);
  return url.protocol === 'nbd+unix:' ? unixOf(url, exportName) : refuse('is neither nbd: nor nbd+unix:');
};
