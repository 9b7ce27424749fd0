/** What a caller may do with a stream. */
export type StreamAction = 'read' | 'write' | 'delete' | 'metadata-read' | 'metadata-write';

/** Names of users and groups by what they may do; an action that is absent is left to the defaults. */
export type AccessList = Readonly<Partial<Record<StreamAction, readonly string[]>>>;

export type StreamKind = 'user' | 'system';

/** Contents of the stream `$settings`: what holds for streams without a list of their own. */
export type DefaultAccessLists = Readonly<Partial<Record<StreamKind, AccessList>>>;

/** A stream's own list, or whose defaults it takes. */
export type StreamAccessList = AccessList | StreamKind;

/** In a list: everybody, also those who did not sign in. */
export const everybody = '$all';

// The keys of `$acl` in a stream's metadata.
const keys: readonly (readonly [string, StreamAction])[] = [
  ['$r', 'read'],
  ['$w', 'write'],
  ['$d', 'delete'],
  ['$mr', 'metadata-read'],
  ['$mw', 'metadata-write'],
];

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const readRoles = (value: unknown): readonly string[] | undefined => {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) && value.every((role) => typeof role === 'string') ? value : undefined;
};

/** One role or many for each action. What is malformed counts as not said. */
const readRolesByAction = (value: unknown): AccessList | undefined => {
  if (!isObject(value)) return undefined;
  const list: Partial<Record<StreamAction, readonly string[]>> = {};
  for (const [key, action] of keys) {
    const roles = readRoles(value[key]);
    if (roles) list[action] = roles;
  }
  return list;
};

/** From `$acl` of a stream's metadata. */
export const readStreamAccessList = (value: unknown): StreamAccessList | undefined => {
  if (value === '$userStreamAcl') return 'user';
  return value === '$systemStreamAcl' ? 'system' : readRolesByAction(value);
};

/** From the payload of the last event of `$settings`. */
export const readDefaultAccessLists = (json: string): DefaultAccessLists => {
  try {
    const settings: unknown = JSON.parse(json);
    if (!isObject(settings)) return {};
    const user = readRolesByAction(settings.$userStreamAcl);
    const system = readRolesByAction(settings.$systemStreamAcl);
    return { ...(user && { user }), ...(system && { system }) };
  } catch {
    return {};
  }
};
