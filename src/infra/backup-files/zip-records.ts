/* The records of a zip file, as PKWARE's APPNOTE.TXT 6.3 has them; section numbers are its own. */

export type ZipEntry = Readonly<{
  name: Buffer;
  /** Else the name's bytes mean what the reader takes them for. */
  nameIsUtf8: boolean;
  mode: number;
  modifiedMs: number;
  /** 0 stored, 8 deflated. */
  method: 0 | 8;
  /** Sizes and checksum follow the content, since they were not known before it. */
  streamed: boolean;
  /** Sizes may not fit into 32 bits. */
  large: boolean;
}>;

export type ZipSizes = Readonly<{ crc: number; packedBytes: number; sizeBytes: number }>;

const unknown: ZipSizes = { crc: 0, packedBytes: 0, sizeBytes: 0 };
const max16 = 0xffff;
const max32 = 0xffffffff;
const versionNeeded = 45;
/** 4.4.2: made by version 4.5 on UNIX, so that permissions are read. */
const madeBy = (3 << 8) | versionNeeded;
const regularFile = 0o100000;

const write = (length: number, fill: (record: DataView) => void): Buffer => {
  const record = Buffer.alloc(length);
  fill(new DataView(record.buffer, record.byteOffset, length));
  return record;
};

const setU64 = (record: DataView, at: number, value: number): void => record.setBigUint64(at, BigInt(value), true);

/** 4.4.6, in UTC: 1980 to 2107, two seconds. */
const dosTime = (ms: number): Readonly<{ time: number; date: number }> => {
  const least = Date.UTC(1980, 0, 1);
  const most = Date.UTC(2107, 11, 31, 23, 59, 58);
  const at = new Date(Math.min(Math.max(Number.isFinite(ms) ? ms : least, least), most));
  return {
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
    date: ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
  };
};

/** Info-ZIP's extended timestamp: the time to the second and in UTC, which the field above is not for most readers. */
const timestampExtra = (ms: number): Buffer => {
  const seconds = Math.floor(ms / 1000);
  if (!(Math.abs(seconds) < 2 ** 31)) return Buffer.alloc(0);
  return write(9, (extra) => {
    extra.setUint16(0, 0x5455, true);
    extra.setUint16(2, 5, true);
    extra.setUint8(4, 1);
    extra.setInt32(5, seconds, true);
  });
};

/** 4.5.3 */
const zip64Extra = (values: readonly number[]): Buffer =>
  values.length === 0
    ? Buffer.alloc(0)
    : write(4 + 8 * values.length, (extra) => {
        extra.setUint16(0, 0x0001, true);
        extra.setUint16(2, 8 * values.length, true);
        for (const [index, value] of values.entries()) setU64(extra, 4 + 8 * index, value);
      });

const flagsOf = ({ streamed, nameIsUtf8 }: ZipEntry): number => (streamed ? 0x0008 : 0) | (nameIsUtf8 ? 0x0800 : 0);

/** What the local and the central header have in common, from "version needed" on (4.3.7, 4.3.12). */
const setCommon = (record: DataView, at: number, entry: ZipEntry, sizes: ZipSizes): void => {
  const { time, date } = dosTime(entry.modifiedMs);
  record.setUint16(at, versionNeeded, true);
  record.setUint16(at + 2, flagsOf(entry), true);
  record.setUint16(at + 4, entry.method, true);
  record.setUint16(at + 6, time, true);
  record.setUint16(at + 8, date, true);
  record.setUint32(at + 10, sizes.crc, true);
  record.setUint32(at + 14, entry.large ? max32 : sizes.packedBytes, true);
  record.setUint32(at + 18, entry.large ? max32 : sizes.sizeBytes, true);
  record.setUint16(at + 22, entry.name.length, true);
};

export const localHeader = (entry: ZipEntry, known: ZipSizes = unknown): Buffer => {
  const zip64 = zip64Extra(entry.large ? [known.sizeBytes, known.packedBytes] : []);
  const extra = Buffer.concat([zip64, timestampExtra(entry.modifiedMs)]);
  const fixed = write(30, (record) => {
    record.setUint32(0, 0x04034b50, true);
    setCommon(record, 4, entry, known);
    record.setUint16(28, extra.length, true);
  });
  return Buffer.concat([fixed, entry.name, extra]);
};

/** 4.3.9 */
export const dataDescriptor = ({ large }: ZipEntry, { crc, packedBytes, sizeBytes }: ZipSizes): Buffer =>
  write(large ? 24 : 16, (record) => {
    record.setUint32(0, 0x08074b50, true);
    record.setUint32(4, crc, true);
    if (large) setU64(record, 8, packedBytes);
    else record.setUint32(8, packedBytes, true);
    if (large) setU64(record, 16, sizeBytes);
    else record.setUint32(12, sizeBytes, true);
  });

export const centralHeader = (entry: ZipEntry, sizes: ZipSizes, offset: number): Buffer => {
  const farOff = offset >= max32;
  const zip64 = zip64Extra([...(entry.large ? [sizes.sizeBytes, sizes.packedBytes] : []), ...(farOff ? [offset] : [])]);
  const extra = Buffer.concat([zip64, timestampExtra(entry.modifiedMs)]);
  const fixed = write(46, (record) => {
    record.setUint32(0, 0x02014b50, true);
    record.setUint16(4, madeBy, true);
    setCommon(record, 6, entry, sizes);
    record.setUint16(30, extra.length, true);
    record.setUint32(38, ((regularFile | entry.mode) << 16) >>> 0, true);
    record.setUint32(42, farOff ? max32 : offset, true);
  });
  return Buffer.concat([fixed, entry.name, extra]);
};

export type ZipEnd = Readonly<{ entries: number; offset: number; sizeBytes: number }>;

/** 4.3.14 to 4.3.16 */
export const endRecords = ({ entries, offset, sizeBytes }: ZipEnd): Buffer => {
  const large = entries >= max16 || offset >= max32 || sizeBytes >= max32;
  const end = write(22, (record) => {
    record.setUint32(0, 0x06054b50, true);
    record.setUint16(8, large ? max16 : entries, true);
    record.setUint16(10, large ? max16 : entries, true);
    record.setUint32(12, large ? max32 : sizeBytes, true);
    record.setUint32(16, large ? max32 : offset, true);
  });
  return large ? Buffer.concat([zip64End({ entries, offset, sizeBytes }), end]) : end;
};

const zip64End = ({ entries, offset, sizeBytes }: ZipEnd): Buffer =>
  write(56 + 20, (record) => {
    record.setUint32(0, 0x06064b50, true);
    setU64(record, 4, 56 - 12);
    record.setUint16(12, madeBy, true);
    record.setUint16(14, versionNeeded, true);
    setU64(record, 24, entries);
    setU64(record, 32, entries);
    setU64(record, 40, sizeBytes);
    setU64(record, 48, offset);
    record.setUint32(56, 0x07064b50, true);
    setU64(record, 64, offset + sizeBytes);
    record.setUint32(72, 1, true);
  });
