import type { EventReader } from '../event-reader.ts';
import { dataOf } from '../recorded-event.ts';
import { isMetastream, originalOf } from '../stream-metadata.ts';
import {
  type DefaultAccessLists,
  everybody,
  readDefaultAccessLists,
  type StreamAction,
  type StreamKind,
} from './access-list.ts';
import type { Caller } from './authoriser.ts';

export type Identity = Readonly<{ name: string; groups: readonly string[] }>;

const settingsStream = '$settings';
const adminGroup = '$admins';
const operatorGroup = '$ops';

/** The defaults, which an event in `$settings` may replace while the server runs. */
class Settings {
  readonly #reader: EventReader;
  #readAt = '';
  #lists: DefaultAccessLists = {};

  constructor(reader: EventReader) {
    this.#reader = reader;
  }

  get lists(): DefaultAccessLists {
    const { from, to } = this.#reader.visibleRange(settingsStream);
    const at = `${from}-${to}-${this.#reader.isDeleted(settingsStream)}`;
    if (at !== this.#readAt) {
      const latest = this.#reader.streamEvent(settingsStream, to);
      this.#lists = latest ? readDefaultAccessLists(dataOf(latest.record).toString('utf8')) : {};
      this.#readAt = at;
    }
    return this.#lists;
  }
}

const kindOf = (streamName: string): StreamKind => (streamName.startsWith('$') ? 'system' : 'user');

/** `$$x` is the metadata of x, and has no list of its own. Nobody but an administrator may delete metadata. */
const onOriginal = (action: StreamAction, streamName: string): readonly [StreamAction | undefined, string] => {
  if (!isMetastream(streamName)) return [action, streamName];
  const original = originalOf(streamName);
  if (action === 'delete') return [undefined, original];
  return [action === 'write' || action === 'metadata-write' ? 'metadata-write' : 'metadata-read', original];
};

/**
 * Decides by the access list of the stream, then by `$settings`, then by what is built in: streams of the system are for
 * administrators, all others for everybody who signed in. Anonymous callers get what a list opens to `$all`.
 */
export class StreamAccess {
  readonly #reader: EventReader;
  readonly #settings: Settings;

  constructor(reader: EventReader) {
    this.#reader = reader;
    this.#settings = new Settings(reader);
  }

  /** `undefined`: nobody signed in. */
  callerFor(identity: Identity | undefined): Caller {
    const roles = new Set(identity && [identity.name, ...identity.groups]);
    const isAdmin = roles.has(adminGroup);
    return {
      isKnown: identity !== undefined,
      isOperator: isAdmin || roles.has(operatorGroup),
      may: (action, streamName) => isAdmin || this.#isListed(roles, action, streamName),
    };
  }

  #isListed(roles: ReadonlySet<string>, asked: StreamAction, askedName: string): boolean {
    const [action, streamName] = onOriginal(asked, askedName);
    if (!action) return false;
    const { accessList } = this.#reader.metadata(streamName);
    const own = typeof accessList === 'object' ? accessList : undefined;
    const kind = typeof accessList === 'string' ? accessList : kindOf(streamName);
    const listed = own?.[action] ?? this.#settings.lists[kind]?.[action];
    if (!listed) return kind === 'user' && roles.size > 0;
    return listed.some((role) => role === everybody || roles.has(role));
  }
}
