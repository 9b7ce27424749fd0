import { DomainError } from '#domain/errors.ts';

type Token =
  | Readonly<{ kind: 'any' }>
  | Readonly<{ kind: 'one' }>
  | Readonly<{ kind: 'set'; negated: boolean; ranges: readonly (readonly [string, string])[] }>
  | Readonly<{ kind: 'character'; character: string }>;

const invalid = (message: string): DomainError =>
  new DomainError('invalid-request', `Invalid request: pattern: ${message}`);

/** `[abc]`, `[a-z]`, `[!a-z]`; a `]` right behind the opening one is a character of the set. */
const setAt = (characters: readonly string[], start: number): Readonly<{ token: Token; next: number }> => {
  const negated = characters[start + 1] === '!' || characters[start + 1] === '^';
  const first = start + (negated ? 2 : 1);
  const end = characters.indexOf(']', first + 1);
  if (end < 0) throw invalid('`[` has no `]`; write `[[]` for the character itself');
  const ranges: (readonly [string, string])[] = [];
  for (let at = first; at < end; at += 1) {
    const from = characters[at] ?? '';
    const isRange = characters[at + 1] === '-' && at + 2 < end;
    ranges.push([from, isRange ? (characters[at + 2] ?? '') : from]);
    if (isRange) at += 2;
  }
  return { token: { kind: 'set', negated, ranges }, next: end + 1 };
};

const tokensOf = (pattern: string): readonly Token[] => {
  const characters = [...pattern];
  const tokens: Token[] = [];
  for (let at = 0; at < characters.length; ) {
    const character = characters[at] ?? '';
    if (character === '[') {
      const { token, next } = setAt(characters, at);
      tokens.push(token);
      at = next;
      continue;
    }
    if (character === '*') tokens.push({ kind: 'any' });
    else tokens.push(character === '?' ? { kind: 'one' } : { kind: 'character', character });
    at += 1;
  }
  return tokens;
};

const fits = (token: Token, character: string): boolean => {
  switch (token.kind) {
    case 'any':
    case 'one':
      return true;
    case 'character':
      return token.character === character;
    case 'set':
      return token.ranges.some(([from, to]) => from <= character && character <= to) !== token.negated;
  }
};

/**
 * Goes back to the last `*` only, so its time is at most the product of the lengths: a regular expression made of a client's pattern
 * could take for ever.
 */
const matches = (tokens: readonly Token[], name: readonly string[]): boolean => {
  let token = 0;
  let star = -1;
  let resume = 0;
  for (let at = 0; at < name.length; ) {
    const current = tokens[token];
    if (current?.kind === 'any') {
      star = token;
      resume = at;
      token += 1;
    } else if (current && fits(current, name[at] ?? '')) {
      token += 1;
      at += 1;
    } else if (star >= 0) {
      resume += 1;
      at = resume;
      token = star + 1;
    } else return false;
  }
  return tokens.slice(token).every(({ kind }) => kind === 'any');
};

export type NamePattern = Readonly<{ pattern: string; caseSensitive: boolean }>;

/**
 * A shell's pattern for names: `*`, `?`, `[a-z]`, `[!a-z]`; without any of them it is looked for anywhere in the name. Throws
 * `invalid-request` for a set that does not end.
 */
export const nameMatcher = ({ pattern, caseSensitive }: NamePattern): ((name: string) => boolean) => {
  const fold = (text: string): string => (caseSensitive ? text : text.toLowerCase());
  const plain = !/[*?[]/.test(pattern);
  const tokens = tokensOf(fold(plain ? `*${pattern}*` : pattern));
  return (name) => matches(tokens, [...fold(name)]);
};
