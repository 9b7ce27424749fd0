import type { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import type { DamageReporter } from './damage.ts';
import { checkedStream, streamColumns } from './stream-row.ts';

const fnvPrime = 0x01000193;
const fnvBasis = 0x811c9dc5;
const secondHashBits = 20;

const secondHash = (name: string): number => {
  let hash = fnvBasis;
  for (let index = 0; index < name.length; index += 1) hash = Math.imul(hash ^ name.charCodeAt(index), fnvPrime);
  return hash >>> (32 - secondHashBits);
};

/** 52 bits: among ten million streams one in four hundred million unknown names is taken for a known one. */
const hashOf = (name: string): number => crc32(name) * 2 ** secondHashBits + secondHash(name);

/**
 * Which streams exist, as hashes in memory, read from the table at the start. The index by name alone cannot be trusted
 * with a "no": with one bit flipped a stream of a thousand events would seem never to have been written.
 */
export class StreamNames {
  readonly #hashes = new Set<number>();
  readonly #damage: DamageReporter;
  #added: number[] = [];
  #damaged: unknown;

  /** `count`: how many there should be. */
  constructor(database: DatabaseSync, count: number, damage: DamageReporter) {
    this.#damage = damage;
    try {
      const found = this.#load(database);
      if (found !== count) throw damage.structure(`it lists ${found} of ${count} streams`);
    } catch (error) {
      this.#damaged = damage.translated(error, 'the list of streams');
    }
  }

  /** Throws if the list is damaged: then nobody can say that there is no such stream. */
  isKnown(name: string): boolean {
    if (this.#hashes.has(hashOf(name))) return true;
    if (this.#damaged !== undefined) throw this.#damaged;
    return false;
  }

  missing(name: string): Error {
    return this.#damage.structure(`stream ${name} is missing from its index`);
  }

  add(name: string): void {
    const hash = hashOf(name);
    this.#hashes.add(hash);
    this.#added.push(hash);
  }

  committed(): void {
    this.#added = [];
  }

  rolledBack(): void {
    for (const hash of this.#added) this.#hashes.delete(hash);
    this.#added = [];
  }

  #load(database: DatabaseSync): number {
    let found = 0;
    for (const row of database.prepare(`select ${streamColumns} from streams not indexed`).iterate()) {
      const { name } = checkedStream(row, this.#damage);
      this.#hashes.add(hashOf(name));
      found += 1;
    }
    return found;
  }
}
