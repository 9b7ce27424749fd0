import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';

/** readline would show on it what is typed. */
const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() });

/** One line: typed unseen at a terminal, else the first of the input. Empty if there is none. */
export const readSecret = async (prompt: string): Promise<string> => {
  const { stdin, stderr } = process;
  if (stdin.isTTY) stderr.write(prompt);
  const lines = createInterface({ input: stdin, output: nowhere(), terminal: stdin.isTTY });
  try {
    for await (const line of lines) return line;
    return '';
  } finally {
    lines.close();
    if (stdin.isTTY) stderr.write('\n');
  }
};
