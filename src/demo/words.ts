const kib = 1024;
const mib = 1024 ** 2;
const gib = 1024 * mib;

/** An amount as people say it. */
export const inBytes = (bytes: number): string => {
  if (bytes >= gib) return `${(bytes / gib).toFixed(2)} GiB`;
  if (bytes < mib) return `${Math.round(bytes / kib)} KiB`;
  return bytes >= 10 * mib ? `${Math.round(bytes / mib)} MiB` : `${(bytes / mib).toFixed(1)} MiB`;
};

export const inSeconds = (seconds: number): string => `${seconds.toFixed(1)} s`;

export const speed = (bytes: number, seconds: number): string => `${inBytes(bytes / Math.max(seconds, 0.001))}/s`;

export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
