import { randomBytes } from 'node:crypto';

/** `52 66 8c 2d a7 c5 c5 68-c5 d2 8d 04 79 f5 fd 7d/5440`: who counts, and how far. As vSphere writes them. */
export type ChangeId = Readonly<{ epoch: string; sequence: number }>;

const pair = '[0-9a-f]{2}';
const pattern = new RegExp(`^(${pair}(?: ${pair}){7}-${pair}(?: ${pair}){7})/([0-9]{1,15})$`, 'i');

export const formatChangeId = ({ epoch, sequence }: ChangeId): string => `${epoch}/${sequence}`;

export const parseChangeId = (text: string): ChangeId | undefined => {
  const [, epoch, sequence] = pattern.exec(text) ?? [];
  return epoch === undefined ? undefined : { epoch: epoch.toLowerCase(), sequence: Number(sequence) };
};

export const newEpoch = (): string => {
  const pairs = [...randomBytes(16)].map((byte) => byte.toString(16).padStart(2, '0'));
  return `${pairs.slice(0, 8).join(' ')}-${pairs.slice(8).join(' ')}`;
};
