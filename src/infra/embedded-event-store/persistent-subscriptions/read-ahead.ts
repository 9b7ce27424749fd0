import type { StoredEvent } from '../event-reader.ts';
import type { EventStorage } from '../event-storage.ts';
import { allEvents, type GroupConfig } from './group-config.ts';
import { createLogSource, type LogSource } from './log-source.ts';
import { type Done, Progress } from './progress.ts';

/** With its place in the order in which the group read its events. */
export type NewEvent = Readonly<{ event: StoredEvent; sequence: number }>;

/** Reads the log ahead of a group's consumers, as far as there is room, and keeps count of what they have dealt with. */
export class ReadAhead {
  readonly #config: GroupConfig;
  readonly #source: LogSource;
  readonly #progress: Progress;
  /** Everything up to here was looked at. */
  #lookedTo: number;
  #lastRead: number | undefined;
  #isLive = false;

  constructor(storage: EventStorage, config: GroupConfig, resumeAfter: number | undefined) {
    this.#config = config;
    this.#source = createLogSource(storage, config);
    this.#progress = new Progress(resumeAfter);
    const { start } = config;
    this.#lookedTo =
      resumeAfter ?? (start.kind === 'end' ? start.last : Math.max(start.first - 1, this.#source.beginning));
  }

  /** It was at the end of the log, and has had room since for what came. */
  get isLive(): boolean {
    return this.#isLive;
  }

  get done(): Done | undefined {
    return this.#progress.done;
  }

  /** The place of the last event for the group, as far as it is known without reading what there is no room for. */
  get lastKnown(): number | undefined {
    const end = this.#config.eventSource === allEvents ? this.#lookedTo : this.#source.end();
    return end > this.#lookedTo ? end : this.#lastRead;
  }

  /** Returns how to stop listening. */
  onChange(wake: () => void): () => void {
    return this.#source.onChange(wake);
  }

  /** Throws once there is nothing to read for ever. `more`: it is worth looking again. */
  look(maxEvents: number): Readonly<{ events: readonly NewEvent[]; more: boolean }> {
    if (this.#source.isDeleted()) throw new Error(`Event stream '${this.#config.eventSource}' is deleted.`);
    const { looked, atEnd } = this.#source.look(this.#lookedTo, maxEvents, this.#isLive);
    const events: NewEvent[] = [];
    for (const { place, event, isOwn } of looked) {
      this.#lookedTo = place;
      if (event) {
        events.push({ event, sequence: this.#progress.begin(place) });
        this.#lastRead = place;
      } else if (!isOwn) this.#progress.skip(place);
    }
    this.#isLive ||= atEnd;
    return { events, more: looked.length > 0 };
  }

  noRoom(): void {
    this.#isLive &&= this.#lookedTo >= this.#source.end();
  }

  settle(sequence: number): void {
    this.#progress.settle(sequence);
  }
}
