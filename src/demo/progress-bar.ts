import { inBytes } from './words.ts';

/** One line of a step that is under way. */
export type Bar = Readonly<{ label: string; percent: number; bytes: number; phase: string }>;

const widest = 32;
const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const labelColumns = 22;
// Behind the bar: percent, bytes, phase.
const restColumns = 34;

/** Drawn in eighths of a character, so that slow progress shows as well. */
export const drawBar = ({ label, percent, bytes, phase }: Bar, columns: number): string => {
  const width = Math.max(0, Math.min(widest, columns - labelColumns - restColumns - 4));
  const filled = Math.round((Math.max(0, Math.min(100, percent)) / 100) * width * 8);
  const bar = `${'█'.repeat(Math.floor(filled / 8))}${eighths[filled % 8]}`;
  const drawn = width === 0 ? '' : `│${bar.padEnd(width)}│ `;
  const numbers = `${String(Math.floor(percent)).padStart(3)} %  ${inBytes(bytes).padStart(9)}  ${phase}`;
  return `${label.padEnd(labelColumns)} ${drawn}${numbers}`.slice(0, columns);
};
