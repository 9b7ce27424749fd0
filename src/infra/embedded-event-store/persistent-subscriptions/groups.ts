import type { EventStorage } from '../event-storage.ts';
import { loadCheckpoint } from './checkpoints.ts';
import { Group } from './group.ts';
import {
  allEvents,
  checkpointStreamOf,
  type GroupConfig,
  type GroupFilter,
  type GroupId,
  type GroupSettings,
  keyOf,
  parkedStreamOf,
  problemWith,
} from './group-config.ts';
import { GroupRefused } from './group-refused.ts';
import { createLogSource } from './log-source.ts';
import { loadGroups, saveGroups } from './stored-config.ts';

/** `first` as a revision of the stream or a position in $all; events with it are wanted. */
export type WantedStart = 'start' | 'end' | Readonly<{ first: number }>;

export type GroupRequest = GroupId & Readonly<{ start: WantedStart; settings: GroupSettings; filter?: GroupFilter }>;

const tickMs = 1000;

/** All groups of the store. Refusals are thrown as `GroupRefused`; what is changed is on disk before it is answered. */
export class Groups {
  readonly #storage: EventStorage;
  readonly #groups = new Map<string, Group>();
  readonly #ticker: NodeJS.Timeout;
  #lastChange: Promise<unknown> = Promise.resolve();
  /** Why the groups could not be loaded: the store serves everything else all the same. */
  #fault = '';

  constructor(storage: EventStorage) {
    this.#storage = storage;
    this.#load();
    this.#ticker = setInterval(() => {
      for (const group of this.#groups.values()) group.tick();
    }, tickMs).unref();
  }

  create(request: GroupRequest): Promise<void> {
    return this.#oneAfterTheOther(async () => {
      this.#requireLoaded(request);
      const key = keyOf(request);
      if (this.#groups.has(key)) throw new GroupRefused('exists', request);
      const config = this.#configOf(request);
      // What a group of the same name left behind, if its deletion was cut short: not for this one.
      const swept = this.#deleteStateOf(request);
      await Promise.all([swept, saveGroups(this.#storage, [...this.#configs(), config])]);
      this.#groups.set(key, new Group(this.#storage, config, undefined));
    });
  }

  /** The group goes on from where it was; its consumers have to connect again. A filter cannot be changed. */
  update(request: Omit<GroupRequest, 'filter'>): Promise<void> {
    return this.#oneAfterTheOther(async () => {
      const old = this.find(request);
      const { filter, start } = old.config;
      const asked = this.#configOf({ ...request, ...(filter && { filter }) });
      // Still "from the end": of then, or what came since and was not dealt with would be lost.
      const config = asked.start.kind === 'end' && start.kind === 'end' ? { ...asked, start } : asked;
      const others = this.#configs().filter((other) => keyOf(other) !== keyOf(request));
      await saveGroups(this.#storage, [...others, config]);
      old.stop();
      this.#groups.set(keyOf(request), new Group(this.#storage, config, old.done));
      // Its successor knows how far it was; written down it need not be before the next checkpoint is.
      await Promise.allSettled([old.store()]);
    });
  }

  delete(id: GroupId): Promise<void> {
    return this.#oneAfterTheOther(async () => {
      const group = this.find(id);
      const others = this.#configs().filter((other) => keyOf(other) !== keyOf(id));
      await saveGroups(this.#storage, others);
      this.#groups.delete(keyOf(id));
      group.stop();
      await this.#deleteStateOf(id);
    });
  }

  /** Throws `GroupRefused`. */
  find(id: GroupId): Group {
    this.#requireLoaded(id);
    const group = this.#groups.get(keyOf(id));
    if (!group) throw new GroupRefused('missing', id);
    return group;
  }

  /** Of one source of events, or all; in order. */
  list(eventSource?: string): readonly Group[] {
    this.#requireLoaded({ eventSource: eventSource ?? allEvents, groupName: '' });
    const groups = [...this.#groups].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, group]) => group);
    const listed = groups.filter(({ config }) => eventSource === undefined || config.eventSource === eventSource);
    if (eventSource !== undefined && listed.length === 0) {
      throw new GroupRefused('missing', { eventSource, groupName: '' });
    }
    return listed;
  }

  /** All consumers have to connect again; groups begin anew from what is stored. */
  restart(): Promise<void> {
    return this.#oneAfterTheOther(async () => {
      await this.#closeAll();
      this.#load();
    });
  }

  /** Resolves once it is stored how far the groups are. */
  async close(): Promise<void> {
    clearInterval(this.#ticker);
    await this.#lastChange;
    await this.#closeAll();
  }

  async #closeAll(): Promise<void> {
    const groups = [...this.#groups.values()];
    this.#groups.clear();
    // One that cannot store it, on a full disk, sends more messages twice: no reason to hold up the others.
    await Promise.allSettled(
      groups.map((group) => {
        group.stop();
        return group.store();
      }),
    );
  }

  #load(): void {
    try {
      for (const config of loadGroups(this.#storage)) {
        this.#groups.set(keyOf(config), new Group(this.#storage, config, loadCheckpoint(this.#storage, config)));
      }
      this.#fault = '';
    } catch (error) {
      this.#fault = error instanceof Error ? error.message : String(error);
    }
  }

  #requireLoaded(id: GroupId): void {
    if (this.#fault !== '') throw new GroupRefused('failed', id, this.#fault);
  }

  #configs(): readonly GroupConfig[] {
    return Array.from(this.#groups.values(), ({ config }) => config);
  }

  #configOf({ start, ...asked }: GroupRequest): GroupConfig {
    const problem = problemWith(asked.settings);
    if (problem !== undefined) throw new GroupRefused('failed', asked, problem);
    const source = createLogSource(this.#storage, asked);
    if (start === 'end') return { ...asked, start: { kind: 'end', last: source.end() } };
    const first = start === 'start' ? 0 : start.first;
    return { ...asked, start: { kind: 'at', first } };
  }

  async #deleteStateOf(id: GroupId): Promise<void> {
    await Promise.all(
      [checkpointStreamOf(id), parkedStreamOf(id)]
        .filter((streamName) => !this.#storage.reader.isMissing(streamName))
        .map((streamName) => this.#storage.delete(streamName, { kind: 'any' })),
    );
  }

  #oneAfterTheOther<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#lastChange.then(change);
    this.#lastChange = result.catch(() => undefined);
    return result;
  }
}
