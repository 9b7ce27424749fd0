/*
 * Names of files are bytes; JSON and URLs hold text. A name that is UTF-8 stands for itself. Any other byte is shown as one
 * character of a private range, 0xNN as U+EFNN, so that every name can be listed and asked for again, and no two names look
 * alike. A name that has characters of that range itself has each of their bytes shown this way.
 * (Lone surrogates, the other usual way, do not survive a browser's encodeURIComponent.)
 */

/** As the filesystem has it, one character per byte: cheap to keep, and its order is that of the bytes. */
export type RawName = string;

const ascii = /^[\0-\x7f]*$/;
const shownBytes = /[\uef80-\uefff]/;
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const decode = (bytes: Uint8Array): string | undefined => {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
};

export const isUtf8 = (raw: RawName): boolean => ascii.test(raw) || decode(Buffer.from(raw, 'latin1')) !== undefined;

export const textOf = (raw: RawName): string => {
  if (ascii.test(raw)) return raw;
  const bytes = Buffer.from(raw, 'latin1');
  const text = decode(bytes);
  return text !== undefined && !shownBytes.test(text) ? text : piecewise(bytes);
};

const piecewise = (bytes: Buffer): string => {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const { length, character } = characterAt(bytes, at);
    text += character;
    at += length;
  }
  return text;
};

const characterAt = (bytes: Buffer, at: number): Readonly<{ length: number; character: string }> => {
  const first = bytes[at] ?? 0;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const character = decode(bytes.subarray(at, at + length));
  const whole = character !== undefined && [...character].length === 1 && !shownBytes.test(character);
  return whole ? { length, character } : { length: 1, character: String.fromCharCode(0xef00 + first) };
};

/** What `textOf` made of a name becomes that name again; other text becomes its UTF-8. */
export const rawOf = (text: string): RawName => {
  if (ascii.test(text)) return text;
  return text
    .split(/([\uef80-\uefff])/)
    .map((part, index) =>
      index % 2 === 1 ? String.fromCharCode(part.charCodeAt(0) & 0xff) : Buffer.from(part, 'utf8').toString('latin1'),
    )
    .join('');
};

/** For the filesystem's calls. */
export const bytesOf = (raw: RawName): Buffer => Buffer.from(raw, 'latin1');
