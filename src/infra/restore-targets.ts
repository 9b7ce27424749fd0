import { access, constants, lstat, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, normalize, sep } from 'node:path';
import type { RestoreTargets } from '#commands/disk-restore-ports.ts';
import type { RestoreTarget } from '#domain/disk-restore/events.ts';
import { type NbdPlace, parseNbdUri } from '#domain/disk-restore/nbd-uri.ts';
import { DomainError } from '#domain/errors.ts';

export type RestoreLimits = Readonly<{
  /** Folders that restores may write below; none: no images, no sockets. */
  roots: readonly string[];
  /** `host` or `host:port`; none: no NBD over the network. */
  nbdHosts: readonly string[];
  /** The ports that the hub's own exports are on: backups in the making. */
  ownPorts: Readonly<{ first: number; last: number }>;
  /** Folders that nothing is written to, whatever is allowed above them: repositories, the hub's data. */
  keepOut: () => Promise<readonly string[]>;
}>;

const refuse = (message: string, target: string): never => {
  throw new DomainError('restore-target-refused', message, { target });
};

const isBelow = (path: string, folder: string): boolean =>
  path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);

const realOrSame = (path: string): Promise<string> => realpath(path).catch(() => path);

/** Where a file really would be: the links above it resolved, its own name kept. */
const resolvePlace = async (path: string, { roots, keepOut }: RestoreLimits): Promise<string> => {
  if (!isAbsolute(path) || normalize(path) !== path || path.endsWith('/') || path.includes('\0'))
    return refuse(`${JSON.stringify(path)} must be an absolute path without . and ..`, path);
  if (roots.length === 0)
    return refuse(
      'no folder is set up for restored disks; set SENDENSE_RESTORE_ROOTS to those that may be written to',
      path,
    );
  const folder = await realpath(dirname(path)).catch(() => refuse(`the folder ${dirname(path)} does not exist`, path));
  if (!(await stat(folder)).isDirectory()) return refuse(`${dirname(path)} is no folder`, path);
  const place = folder === sep ? path : `${folder}${sep}${basename(path)}`;
  const allowed = await Promise.all(roots.map(realOrSame));
  if (!allowed.some((root) => isBelow(place, root)))
    return refuse(`${place} is not below ${roots.join(' or ')} (SENDENSE_RESTORE_ROOTS)`, path);
  const kept = await Promise.all((await keepOut()).map(realOrSame));
  const owner = kept.find((root) => place === root || isBelow(place, root));
  return owner === undefined ? place : refuse(`${place} is in ${owner}, which belongs to backups or to the hub`, path);
};

const assertNbdAllowed = async (place: NbdPlace, uri: string, limits: RestoreLimits): Promise<void> => {
  if (place.type === 'unix') {
    const socket = await resolvePlace(place.socket, limits);
    const found = await lstat(socket).catch(() => undefined);
    if (!found?.isSocket()) refuse(`${socket} is no socket`, uri);
    return;
  }
  const { host, port } = place;
  const names = [host, `${host}:${port}`, `[${host}]`, `[${host}]:${port}`].map((name) => name.toLowerCase());
  if (!limits.nbdHosts.some((allowed) => names.includes(allowed.toLowerCase())))
    refuse(`${host}:${port} is none of the NBD servers that restores may write to (SENDENSE_RESTORE_NBD)`, uri);
  // Whichever host it is called by: an address that leads back here cannot be told by its name.
  if (port >= limits.ownPorts.first && port <= limits.ownPorts.last)
    refuse(`port ${port} is one of those that backups are written through (SENDENSE_NBD_PORTS)`, uri);
};

/** Also a read-only filesystem is one that nobody may write to. */
const assertWritable = async (folder: string, path: string): Promise<void> => {
  await access(folder, constants.W_OK | constants.X_OK).catch(() =>
    refuse(`the hub's user may not write to ${folder}; give it the right, or choose another folder`, path),
  );
};

const assertImageAllowed = async (path: string, overwrite: boolean, limits: RestoreLimits): Promise<void> => {
  const place = await resolvePlace(path, limits);
  await assertWritable(dirname(place), path);
  const found = await lstat(place).catch(() => undefined);
  if (!found) return;
  if (!found.isFile()) refuse(`${place} is there already, and no plain file`, path);
  if (overwrite) return;
  const message = `${place} exists already; choose another name, or ask for overwrite`;
  throw new DomainError('restore-target-exists', message, { path });
};

export const createRestoreTargets = (limits: RestoreLimits): RestoreTargets & Pick<PlaceResolver, 'resolve'> => ({
  assertUsable: async (target: RestoreTarget) => {
    if (target.type === 'image') await assertImageAllowed(target.path, target.overwrite, limits);
    else await assertNbdAllowed(parseNbdUri(target.uri), target.uri, limits);
  },
  resolve: (path) => resolvePlace(path, limits),
});

/** The real path of a target that is allowed. */
export interface PlaceResolver {
  resolve(path: string): Promise<string>;
  assertUsable(target: RestoreTarget): Promise<void>;
}
