import type { FileHandle } from 'node:fs/promises';

/*
 * An empty qcow2 (version 3), as docs/interop/qcow2.txt of QEMU describes it, written directly: `qemu-img create` costs a
 * process and a flush, 45 ms for two disks beside a busy hub, which was the largest part of a backup's start.
 *
 * | cluster | holds                                                                                        |
 * |---------|----------------------------------------------------------------------------------------------|
 * | 0       | header, its extensions, name of the backing file                                             |
 * | 1       | refcount table: one entry                                                                    |
 * | 2       | refcount block: one reference to each of these clusters                                      |
 * | 3…      | L1 table: all zeroes, that is a hole in the file; its L2 tables come with the first data     |
 */

export type ImageLayout = Readonly<{
  clusterSizeBytes: number;
  /** Clusters of 32 subclusters that are allocated one by one ("extended L2 entries"). */
  subclusters: boolean;
}>;

export type EmptyImage = ImageLayout &
  Readonly<{
    /** A multiple of 512. */
    virtualSizeBytes: number;
    /** The name of a qcow2, relative to the image's folder. */
    backingName?: string;
  }>;

const magic = 0x51_46_49_fb; // "QFI\xfb"
const headerBytes = 112;
const refcountOrder = 4; // 2^4 bits a reference
const refcountBytes = 2;
const extendedL2 = 1n << 4n;
const backingFormatExtension = 0xe2_79_2a_ca;
const backingFormat = 'qcow2';
const l1EntryBytes = 8;
/** QEMU's QCOW_MAX_L1_SIZE. */
const largestL1Bytes = 32 * 1024 ** 2;

/** An L2 table fills one cluster; an entry for subclusters is twice as long. */
const bytesPerL1Entry = ({ clusterSizeBytes, subclusters }: ImageLayout): number =>
  (clusterSizeBytes / (subclusters ? 16 : 8)) * clusterSizeBytes;

const extensionsOf = (backingName: string | undefined): Buffer => {
  const end = Buffer.alloc(8);
  if (backingName === undefined) return end;
  const format = Buffer.alloc(16);
  format.writeUInt32BE(backingFormatExtension, 0);
  format.writeUInt32BE(backingFormat.length, 4);
  format.write(backingFormat, 8);
  return Buffer.concat([format, end]);
};

const headerOf = (image: EmptyImage, l1Entries: number): Buffer => {
  const { clusterSizeBytes, virtualSizeBytes, backingName } = image;
  const extensions = extensionsOf(backingName);
  const name = Buffer.from(backingName ?? '');
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(magic, 0);
  header.writeUInt32BE(3, 4);
  header.writeBigUInt64BE(backingName === undefined ? 0n : BigInt(headerBytes + extensions.length), 8);
  header.writeUInt32BE(name.length, 16);
  header.writeUInt32BE(Math.log2(clusterSizeBytes), 20);
  header.writeBigUInt64BE(BigInt(virtualSizeBytes), 24);
  header.writeUInt32BE(l1Entries, 36);
  header.writeBigUInt64BE(BigInt(3 * clusterSizeBytes), 40);
  header.writeBigUInt64BE(BigInt(clusterSizeBytes), 48); // refcount table
  header.writeUInt32BE(1, 56); // … of one cluster
  header.writeBigUInt64BE(image.subclusters ? extendedL2 : 0n, 72);
  header.writeUInt32BE(refcountOrder, 96);
  header.writeUInt32BE(headerBytes, 100);
  return Buffer.concat([header, extensions, name]);
};

/** Fills a new file with an image that reads as zeroes, or as its backing file. Throws a RangeError for a disk too large for the layout. */
export const writeEmptyImage = async (file: FileHandle, image: EmptyImage): Promise<void> => {
  const { clusterSizeBytes, virtualSizeBytes } = image;
  const l1Entries = Math.ceil(virtualSizeBytes / bytesPerL1Entry(image));
  if (l1Entries * l1EntryBytes > largestL1Bytes)
    throw new RangeError(`${virtualSizeBytes} bytes are too many for clusters of ${clusterSizeBytes}`);
  const clusters = 3 + Math.ceil((l1Entries * l1EntryBytes) / clusterSizeBytes);
  const refcountTable = Buffer.alloc(8);
  refcountTable.writeBigUInt64BE(BigInt(2 * clusterSizeBytes));
  const refcounts = Buffer.alloc(clusters * refcountBytes);
  for (let cluster = 0; cluster < clusters; cluster += 1) refcounts.writeUInt16BE(1, cluster * refcountBytes);
  const header = headerOf(image, l1Entries);
  await file.truncate(clusters * clusterSizeBytes);
  await file.write(header, 0, header.length, 0);
  await file.write(refcountTable, 0, refcountTable.length, clusterSizeBytes);
  await file.write(refcounts, 0, refcounts.length, 2 * clusterSizeBytes);
};
