import { createHmac, randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { RecentlyUsed } from '../recently-used.ts';
import type { Identity } from './stream-access.ts';
import { readUsersFile, type User } from './users-file.ts';

/** How passwords are hashed is for whoever runs the server to say. */
export type PasswordVerifier = Readonly<{
  verify: (password: string, hash: string) => Promise<boolean>;
  /** Takes as long as `verify` and never succeeds: names that exist must not answer later than others. */
  verifyNothing: (password: string) => Promise<false>;
}>;

export type UsersOptions = Readonly<{
  path: string;
  passwords: PasswordVerifier;
  /** For the operator, while the server runs. */
  warn: (sentence: string) => void;
}>;

/** So many wait for their hash at most; it takes tens of milliseconds, and this many some seconds. */
const maxPending = 128;
const maxRemembered = 1000;
const lookAgainAfterMs = 1000;

/** More sign in at once than can be verified in a sensible time. */
export class TooManySignIns extends Error {
  override readonly name = 'TooManySignIns';
}

/**
 * The users of a file, read again when it changes. A password is hashed once and then remembered (not itself, but a keyed
 * digest), so that not every call pays for it.
 */
export class Users {
  readonly #options: UsersOptions;
  readonly #key = randomBytes(32);
  readonly #verified = new RecentlyUsed<Identity>(maxRemembered);
  readonly #pending = new Map<string, Promise<Identity | undefined>>();
  #byName: ReadonlyMap<string, User>;
  #version: string;
  #lookedAtMs = performance.now();

  /** Throws `UsersFileError`. */
  constructor(options: UsersOptions) {
    this.#options = options;
    this.#byName = readUsersFile(options.path, options.warn);
    this.#version = this.#currentVersion();
  }

  /** Undefined: no such user, or not with this password. Throws `TooManySignIns`. */
  async signIn(name: string, password: string): Promise<Identity | undefined> {
    this.#readAgainIfChanged();
    const key = createHmac('sha256', this.#key).update(`${name}\0${password}`).digest('base64');
    const remembered = this.#verified.get(key);
    if (remembered) return remembered;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    if (this.#pending.size >= maxPending) throw new TooManySignIns('Too many sign in at the same time.');
    const verifying = this.#verify(name, password, key).finally(() => this.#pending.delete(key));
    this.#pending.set(key, verifying);
    return verifying;
  }

  async #verify(name: string, password: string, key: string): Promise<Identity | undefined> {
    const { verify, verifyNothing } = this.#options.passwords;
    const user = this.#byName.get(name);
    const isRight = user ? await verify(password, user.passwordHash) : await verifyNothing(password);
    if (!user || !isRight) return undefined;
    const identity = { name, groups: user.groups };
    if (this.#byName.get(name) === user) this.#verified.set(key, identity); // else the file changed meanwhile
    return identity;
  }

  #readAgainIfChanged(): void {
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs < lookAgainAfterMs) return;
    this.#lookedAtMs = nowMs;
    const version = this.#currentVersion();
    if (version === this.#version) return;
    this.#version = version;
    try {
      this.#byName = readUsersFile(this.#options.path, this.#options.warn);
      this.#verified.clear();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.warn(`${reason} The users stay as they were.`);
    }
  }

  #currentVersion(): string {
    const stat = statSync(this.#options.path, { bigint: true, throwIfNoEntry: false });
    return stat ? `${stat.ino}-${stat.mtimeNs}-${stat.size}` : 'gone';
  }
}
