import { readFileSync, statSync } from 'node:fs';

export type User = Readonly<{ name: string; passwordHash: string; groups: readonly string[] }>;

/** A users file that cannot be used, in a sentence for whoever runs the server. */
export class UsersFileError extends Error {
  override readonly name = 'UsersFileError';
}

const nameForm = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
const groupForm = /^\$?[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** A `$` at the beginning is for the groups of the system: no user may pass for one. */
export const isUserName = (text: string): boolean => nameForm.test(text);
/** `$all` stands for everybody, so nobody is a member of it. */
export const isGroupName = (text: string): boolean => groupForm.test(text) && text !== '$all';

/** The users that administrators and operators of EventStoreDB know, with the groups they have there. */
export const usualGroupsOf = (userName: string): readonly string[] => {
  if (userName === 'admin') return ['$admins'];
  return userName === 'ops' ? ['$ops'] : [];
};

/** What is no hash is the password itself: for a laboratory whose file is written by hand. */
export const isPasswordHash = (text: string): boolean => text.startsWith('$argon2id$');

const readLine = (line: string): User | undefined => {
  const [name, passwordHash, groupList, ...rest] = line.split(':');
  if (name === undefined || !passwordHash || rest.length > 0) return undefined;
  const groups = groupList?.split(',').filter((group) => group !== '') ?? usualGroupsOf(name);
  return isUserName(name) && groups.every(isGroupName) ? { name, passwordHash, groups } : undefined;
};

const isContent = (line: string): boolean => line !== '' && !line.startsWith('#');

/** One user a line, `name:password hash:group,group`, without groups the usual ones; `#` begins a comment. Throws `UsersFileError`. */
export const parseUsers = (text: string, path: string): ReadonlyMap<string, User> => {
  const users = new Map<string, User>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (!isContent(line)) continue;
    const user = readLine(line);
    if (!user) throw new UsersFileError(`Line ${index + 1} of ${path} is not NAME:PASSWORD-HASH:GROUP,GROUP.`);
    if (users.has(user.name)) throw new UsersFileError(`${path} has the user ${user.name} twice.`);
    users.set(user.name, user);
  }
  return users;
};

const groupOrOthersMayWrite = 0o022;
const groupOrOthersMayRead = 0o044;

/** Refuses a file that others may write to: they could give themselves any rights. Throws `UsersFileError`. */
export const readUsersFile = (path: string, warn: (sentence: string) => void): ReadonlyMap<string, User> => {
  try {
    const { mode } = statSync(path);
    if (mode & groupOrOthersMayWrite) {
      throw new UsersFileError(`Others may write to the users file ${path}: run chmod 600 on it.`);
    }
    if (mode & groupOrOthersMayRead) warn(`Others may read the users file ${path}: run chmod 600 on it.`);
    const users = parseUsers(readFileSync(path, 'utf8'), path);
    if (users.size === 0) throw new UsersFileError(`There is no user in ${path}.`);
    const plain = [...users.values()].filter(({ passwordHash }) => !isPasswordHash(passwordHash));
    if (plain.length > 0) {
      const names = plain.map(({ name }) => name).join(', ');
      warn(`${path} holds passwords in clear text (${names}): set them with ./sendense event-store passwd.`);
    }
    return users;
  } catch (error) {
    if (error instanceof UsersFileError) throw error;
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new UsersFileError(`The users file ${path} cannot be read (${reason}).`, { cause: error });
  }
};
