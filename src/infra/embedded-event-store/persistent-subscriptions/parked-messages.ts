import type { StoredEvent } from '../event-reader.ts';
import type { EventStorage } from '../event-storage.ts';
import { dataOf, type ProposedEvent } from '../recorded-event.ts';
import { metastreamOf } from '../stream-metadata.ts';
import { type GroupId, parkedStreamOf } from './group-config.ts';
import { appendSystemEvent, systemEvent } from './stored-config.ts';

const linkType = '$>';
const adminsOnly = { $r: '$admins', $w: '$admins', $d: '$admins', $mr: '$admins', $mw: '$admins' };

/** A link to the event, or, of a link that was followed, to where it leads. */
const linkTo = (event: StoredEvent, resolveLinks: boolean): Uint8Array =>
  resolveLinks && event.type === linkType ? dataOf(event.record) : Buffer.from(`${event.revision}@${event.streamName}`);

/**
 * What nobody could deal with, as links in a stream of the group's own. A replay hands them out again; they leave the
 * stream once somebody has dealt with them, so that a crash in between loses none.
 */
export class ParkedMessages {
  readonly #storage: EventStorage;
  readonly #streamName: string;
  /** Handed out and not dealt with yet. */
  readonly #open = new Set<number>();
  /** The next one to hand out. */
  #next = 0;
  #replayTo = 0;
  #truncating = false;

  constructor(storage: EventStorage, id: GroupId) {
    this.#storage = storage;
    this.#streamName = parkedStreamOf(id);
  }

  get isReplaying(): boolean {
    return this.#next < this.#replayTo;
  }

  /** Those which a replay would hand out; not those of a replay that has begun. */
  get count(): number {
    const { first, end } = this.#range();
    return Math.max(0, end - Math.max(first, this.#replayTo));
  }

  /** Resolves once it is on disk. */
  async park(event: StoredEvent, resolveLinks: boolean, reason: string): Promise<void> {
    const metadata = { added: new Date().toISOString(), reason, subscriptionEventNumber: event.revision };
    const link: ProposedEvent = {
      ...systemEvent(linkType, ''),
      contentType: 'application/octet-stream',
      data: linkTo(event, resolveLinks),
      customMetadata: Buffer.from(JSON.stringify(metadata)),
    };
    await appendSystemEvent(this.#storage, this.#streamName, link);
  }

  /** All that are parked now, or those before the revision `stopAt` of the parked stream. */
  replay(stopAt: number | undefined): void {
    const { first, end } = this.#range();
    this.#next = Math.max(this.#next, first);
    this.#replayTo = Math.max(this.#replayTo, Math.min(end, stopAt ?? end));
  }

  /** At most so many of what a replay still has to hand out. */
  handOut(maxEvents: number): readonly StoredEvent[] {
    const to = Math.min(this.#replayTo, this.#next + maxEvents) - 1;
    const page = this.#storage.reader.streamPage(this.#streamName, { from: this.#next, to }, 'forwards');
    const last = page.at(-1)?.revision ?? to;
    for (const { revision } of page) this.#open.add(revision);
    this.#next = last + 1;
    return page;
  }

  settle(revision: number): void {
    this.#open.delete(revision);
  }

  /** Removes from the stream what was dealt with; a look now and then is enough. */
  async truncate(): Promise<void> {
    const [lowest] = this.#open; // handed out in order
    const before = lowest ?? this.#next;
    if (this.#truncating || before <= this.#range().first) return;
    this.#truncating = true;
    try {
      const metadata = systemEvent('$metadata', JSON.stringify({ $tb: before, $acl: adminsOnly }));
      await appendSystemEvent(this.#storage, metastreamOf(this.#streamName), metadata);
    } finally {
      this.#truncating = false;
    }
  }

  #range(): Readonly<{ first: number; end: number }> {
    const { reader } = this.#storage;
    if (reader.isMissing(this.#streamName)) return { first: 0, end: 0 };
    const { from, to } = reader.visibleRange(this.#streamName);
    return { first: from, end: to + 1 };
  }
}
