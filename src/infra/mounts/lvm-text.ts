/** A section of LVM's text format: names to values and to sections. */
export type Section = Readonly<{ [name: string]: Value }>;
export type Value = string | number | readonly Value[] | Section;

export const isSection = (value: Value | undefined): value is Section =>
  typeof value === 'object' && !Array.isArray(value);

/** Metadata is some kilobytes; a hostile disk gets no deeper than a real one. */
const deepest = 8;

/** `"text"` with backslashes, `# comments`, numbers, names, and the marks `{ } [ ] = ,`. */
const tokenPattern = /#[^\n]*|"(?:[^"\\]|\\.)*"|[{}[\]=,]|[^\s{}[\]=,"#]+/g;

const scalar = (token: string): string | number => {
  if (token.startsWith('"')) return token.slice(1, -1).replace(/\\(.)/g, '$1');
  return /^-?\d+$/.test(token) ? Number(token) : token;
};

/** lvm.conf(5) describes the format. Throws a SyntaxError for what is not in it. */
export const parseLvmText = (text: string): Section => {
  const tokens = (text.match(tokenPattern) ?? []).filter((token) => !token.startsWith('#'));
  let at = 0;
  const next = (): string => {
    const token = tokens[at++];
    if (token === undefined) throw new SyntaxError('the metadata of LVM ends too early');
    return token;
  };

  const array = (): readonly Value[] => {
    const values: Value[] = [];
    for (let token = next(); token !== ']'; token = next()) if (token !== ',') values.push(scalar(token));
    return values;
  };

  const section = (depth: number): Section => {
    if (depth > deepest) throw new SyntaxError('the metadata of LVM is too deep');
    const values = new Map<string, Value>();
    while (at < tokens.length && tokens[at] !== '}') {
      const name = next();
      const mark = next();
      if (mark === '{') {
        values.set(name, section(depth + 1));
        if (next() !== '}') throw new SyntaxError(`the section ${name} does not end`);
      } else if (mark === '=') {
        const token = next();
        values.set(name, token === '[' ? array() : scalar(token));
      } else throw new SyntaxError(`${name} has no value`);
    }
    return Object.fromEntries(values);
  };

  return section(0);
};
