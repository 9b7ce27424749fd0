import { type RawName, textOf } from './names.ts';

/** Beyond so many they are only counted: a broken disk has as many as it has files. */
const maxListed = 10_000;

const listName = '_unreadable-files';

const heading = [
  'These files could not be read, or not to their end, because the filesystem in the backup is damaged there,',
  'or their names do not fit into an archive of this kind. Everything else is in this archive.',
  '',
];

const printable = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: names may hold them, a list of lines may not
  text.replace(/[\0-\x1f\x7f\\]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** What an archive leaves out against the wish of whoever asked for it. */
export class Unreadable {
  readonly #lines: string[] = [];
  readonly #taken = new Set<RawName>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(path: RawName, problem: string): void {
    this.#count += 1;
    if (this.#lines.length < maxListed) this.#lines.push(`${printable(textOf(path))}: ${problem}`);
  }

  /** Told of every path in the archive, so that the list does not take the name of one. */
  saw(path: RawName): void {
    if (path.startsWith(listName)) this.#taken.add(path);
  }

  /** For people: the list as a file of the archive. */
  list(): Readonly<{ name: string; content: Buffer }> {
    const more = this.#count - this.#lines.length;
    const lines = [...heading, ...this.#lines, ...(more > 0 ? [`and ${more} more`] : []), ''];
    let name = `${listName}.txt`;
    for (let number = 2; this.#taken.has(name); number += 1) name = `${listName}-${number}.txt`;
    return { name, content: Buffer.from(lines.join('\n')) };
  }
}
