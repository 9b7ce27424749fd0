import type { AuditEntry } from './entry.ts';

/** SHA-256 of a text's UTF-8 bytes, in lower-case hex. */
export type Digest = (text: string) => string;

/** Where the trail stands: the running hash after its `count`th entry. */
export type ChainHead = Readonly<{ hash: string; count: number }>;

/** An entry in its place: `n` counts from 1 over the whole trail, `hash` covers it and everything before it. */
export type SealedEntry = AuditEntry & Readonly<{ n: number; hash: string }>;

export const emptyChain: ChainHead = { hash: '0'.repeat(64), count: 0 };

/** One text for one value: keys by code unit, no white space. Numbers are whole, so every implementation writes them alike. */
export const canonicalJson = (value: unknown): string => {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`);
  return `{${members.join(',')}}`;
};

export const hashAfter = (previousHash: string, entry: AuditEntry & Readonly<{ n: number }>, digest: Digest): string =>
  digest(`${previousHash}\n${canonicalJson(entry)}`);

/** Puts entries into the chain behind `head`. */
export const sealAll = (
  entries: readonly AuditEntry[],
  head: ChainHead,
  digest: Digest,
): Readonly<{ sealed: readonly SealedEntry[]; head: ChainHead }> => {
  const sealed: SealedEntry[] = [];
  let { hash, count } = head;
  for (const entry of entries) {
    count += 1;
    const numbered = { ...entry, n: count };
    hash = hashAfter(hash, numbered, digest);
    sealed.push({ ...numbered, hash });
  }
  return { sealed, head: { hash, count } };
};
