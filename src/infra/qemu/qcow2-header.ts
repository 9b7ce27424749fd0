import { open } from 'node:fs/promises';

/** What the first bytes of a qcow2 file say. */
export type Qcow2Header = Readonly<{
  virtualSizeBytes: number;
  clusterSizeBytes: number;
  backingFile: string | null;
  /** A writer with lazy refcounts did not end in order. */
  dirty: boolean;
  actualSizeBytes: number;
}>;

const magic = 0x51_46_49_fb; // "QFI\xfb"
const headerBytes = 104;
/** docs/interop/qcow2.txt: the name of the backing file is at most 1023 bytes long. */
const longestBackingName = 1023;

const readExactly = async (
  file: Readonly<{
    read: (buffer: Buffer, offset: number, length: number, position: number) => Promise<{ bytesRead: number }>;
  }>,
  position: number,
  length: number,
): Promise<Buffer> => {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
};

/**
 * Reads the header without a lock, so that it works beside a writer, and without a process: the request that starts a
 * backup has no time for one. `undefined` when the file is no qcow2 of version 2 or 3; throws when it cannot be opened.
 */
export const readQcow2Header = async (path: string): Promise<Qcow2Header | undefined> => {
  await using file = await open(path, 'r');
  const header = await readExactly(file, 0, headerBytes);
  if (header.length < 72 || header.readUInt32BE(0) !== magic) return undefined;
  const version = header.readUInt32BE(4);
  if (version !== 2 && version !== 3) return undefined;
  const backingOffset = Number(header.readBigUInt64BE(8));
  const backingLength = Math.min(header.readUInt32BE(16), longestBackingName);
  const backing = backingOffset === 0 ? undefined : await readExactly(file, backingOffset, backingLength);
  const incompatibleFeatures = version === 3 && header.length >= 80 ? header.readBigUInt64BE(72) : 0n;
  const { blocks } = await file.stat();
  return {
    virtualSizeBytes: Number(header.readBigUInt64BE(24)),
    clusterSizeBytes: 2 ** header.readUInt32BE(20),
    backingFile: backing?.toString('utf8') ?? null,
    dirty: (incompatibleFeatures & 1n) === 1n,
    actualSizeBytes: blocks * 512,
  };
};
