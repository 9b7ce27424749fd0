import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isGroupName, isUserName, parseUsers, type User, UsersFileError, usualGroupsOf } from './users-file.ts';

/** Without groups a user keeps those they have; a new one gets the usual ones. */
export type ChangedUser = Pick<User, 'name' | 'passwordHash'> & Partial<Pick<User, 'groups'>>;

const nameOf = (line: string): string | undefined => line.trim().split(':')[0];

/** Adds a user or replaces their line; other lines stay as they are, comments too. Throws `UsersFileError`. */
export const writeUser = (path: string, { name, passwordHash, groups }: ChangedUser): void => {
  if (!isUserName(name)) throw new UsersFileError(`"${name}" is no name of a user: letters, digits and . _ @ -`);
  const wrong = groups?.find((group) => !isGroupName(group));
  if (wrong !== undefined) throw new UsersFileError(`"${wrong}" is no name of a group.`);
  const content = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const existing = parseUsers(content, path).get(name);
  const line = [name, passwordHash, (groups ?? existing?.groups ?? usualGroupsOf(name)).join(',')].join(':');
  const lines = content.split('\n').filter((other) => other !== '');
  const changed = existing ? lines.map((other) => (nameOf(other) === name ? line : other)) : [...lines, line];
  const partial = `${path}.partial`;
  rmSync(partial, { force: true }); // left by one that was killed
  writeFileSync(partial, `${changed.join('\n')}\n`, { mode: 0o600, flag: 'wx' });
  renameSync(partial, path); // a server that reads it meanwhile finds the old file or the new one
};
