import { open } from 'node:fs/promises';
import { isSection, parseLvmText, type Section, type Value } from './lvm-text.ts';

/*
 * Reads the metadata of a physical volume (lvm2's lib/format_text/layout.h), because device-mapper is not everywhere and
 * activating a volume group would clash with the host's own of that name, and with another backup of the same disk. A
 * logical volume that is one piece of the disk is mounted like a partition.
 *
 * | at                  | holds                                                                                      |
 * |---------------------|--------------------------------------------------------------------------------------------|
 * | sectors 0 to 3      | the label `LABELONE`, with the offset of the header: id, then data areas, metadata areas   |
 * | the metadata area   | its header with the place of the newest text, which may wrap around the area's end         |
 */

export type LogicalVolume = Readonly<{ name: string; sizeBytes: number }> &
  (
    | Readonly<{ offsetBytes: number; reason: undefined }>
    /** Why it is not one piece of this physical volume. */
    | Readonly<{ reason: string }>
  );

type Read = (offset: number, length: number) => Promise<Buffer>;
type Area = Readonly<{ offset: number; size: number }>;

const sectorBytes = 512;
const areaHeaderBytes = 512;
const areaMagic = ' LVM2 x[5A%r0N*>';
/** The metadata of hundreds of volumes takes some hundred kilobytes. */
const longestTextBytes = 16 * 1024 ** 2;

const areasFrom = (header: Buffer, start: number): readonly Area[] => {
  const areas: Area[] = [];
  for (let at = start; at + 16 <= header.length; at += 16) {
    const offset = Number(header.readBigUInt64LE(at));
    if (offset === 0) break;
    areas.push({ offset, size: Number(header.readBigUInt64LE(at + 8)) });
  }
  return areas;
};

/** The id of the physical volume and its first metadata area; a volume without one leaves it to others of its group. */
const readLabel = async (read: Read): Promise<Readonly<{ id: string; area: Area | undefined }> | undefined> => {
  const start = await read(0, 4 * sectorBytes);
  for (let sector = 0; sector < 4; sector += 1) {
    const label = start.subarray(sector * sectorBytes, (sector + 1) * sectorBytes);
    if (label.toString('latin1', 0, 8) !== 'LABELONE' || label.toString('latin1', 24, 32) !== 'LVM2 001') continue;
    const at = label.readUInt32LE(20);
    if (at < 32 || at > sectorBytes - 72) return undefined;
    const dataAreas = areasFrom(label, at + 40);
    const area = areasFrom(label, at + 40 + (dataAreas.length + 1) * 16)[0];
    return { id: label.toString('latin1', at, at + 32), area };
  }
  return undefined;
};

const readText = async (read: Read, { offset: areaAt, size: areaBytes }: Area): Promise<string | undefined> => {
  const header = await read(areaAt, areaHeaderBytes);
  if (header.toString('latin1', 4, 20) !== areaMagic) return undefined;
  const at = Number(header.readBigUInt64LE(40));
  const length = Number(header.readBigUInt64LE(48));
  if (at < areaHeaderBytes || at > areaBytes || length === 0 || length > Math.min(areaBytes, longestTextBytes))
    return undefined;
  const first = Math.min(length, areaBytes - at);
  const parts = [await read(areaAt + at, first), await read(areaAt + areaHeaderBytes, length - first)];
  return Buffer.concat(parts).toString('utf8').replaceAll('\0', '');
};

const numberOf = (value: Value | undefined): number => (typeof value === 'number' ? value : Number.NaN);
const sectionsOf = (value: Value | undefined): readonly (readonly [string, Section])[] =>
  isSection(value)
    ? Object.entries(value).flatMap(([name, each]) => (isSection(each) ? [[name, each] as const] : []))
    : [];

type Piece = Readonly<{ first: number; count: number }>;

/** The extents of a logical volume on one physical volume, in order; or why they are not that. */
const piecesOf = (volume: Section, physical: string): readonly Piece[] | string => {
  const pieces: Piece[] = [];
  for (const [name, segment] of sectionsOf(volume)) {
    if (!/^segment\d+$/.test(name)) continue;
    const { type, stripes } = segment;
    if (type !== 'striped' || numberOf(segment.stripe_count) !== 1 || !Array.isArray(stripes))
      return `it is no linear volume (${String(type)})`;
    const [on, first] = stripes as readonly Value[];
    if (on !== physical) return 'it lies on another physical volume, at least in part';
    pieces.push({ first: numberOf(first), count: numberOf(segment.extent_count) });
  }
  return pieces;
};

const placeOf = (pieces: readonly Piece[], extentBytes: number, dataAt: number): number | string => {
  const [first] = pieces;
  if (!first) return 'it has no extents';
  let end = first.first;
  for (const piece of pieces) {
    if (piece.first !== end) return 'it is made of several pieces';
    end += piece.count;
  }
  const offset = dataAt + first.first * extentBytes;
  return Number.isSafeInteger(offset) ? offset : 'its place on the disk makes no sense';
};

/** Those that people see; the parts of thin pools and mirrors are hidden ones. */
const isVisible = ({ status }: Section): boolean => Array.isArray(status) && status.includes('VISIBLE');

/** What the text says of one physical volume, by its id. Throws a SyntaxError for what is no metadata. */
export const logicalVolumes = (text: string, id: string): readonly LogicalVolume[] | string => {
  const [group] = sectionsOf(parseLvmText(text));
  if (!group) return 'it is a physical volume of LVM without a volume group';
  const [groupName, content] = group;
  const extentBytes = numberOf(content.extent_size) * sectorBytes;
  const physical = sectionsOf(content.physical_volumes).find(([, each]) => String(each.id).replaceAll('-', '') === id);
  if (!physical) return `the volume group ${groupName} does not know this physical volume`;
  const [physicalName, { pe_start: start }] = physical;
  return sectionsOf(content.logical_volumes)
    .filter(([, volume]) => isVisible(volume))
    .map(([name, volume]): LogicalVolume => {
      const extents = sectionsOf(volume).reduce((sum, [, each]) => sum + (numberOf(each.extent_count) || 0), 0);
      const named = { name: `${groupName}-${name}`, sizeBytes: extents * extentBytes };
      const pieces = piecesOf(volume, physicalName);
      const place = typeof pieces === 'string' ? pieces : placeOf(pieces, extentBytes, numberOf(start) * sectorBytes);
      return typeof place === 'string'
        ? { ...named, reason: place }
        : { ...named, offsetBytes: place, reason: undefined };
    });
};

/** The logical volumes on a physical one, their offsets from its beginning; or why they cannot be told. */
export const readVolumeGroup = async (
  diskPath: string,
  { offsetBytes, sizeBytes }: Readonly<{ offsetBytes: number; sizeBytes: number }>,
): Promise<readonly LogicalVolume[] | string> => {
  await using disk = await open(diskPath, 'r');
  const read: Read = async (offset, length) => {
    const buffer = Buffer.alloc(Math.max(0, Math.min(length, sizeBytes - offset)));
    const { bytesRead } = await disk.read(buffer, 0, buffer.length, offsetBytes + offset);
    return buffer.subarray(0, bytesRead);
  };
  const unreadable = 'it is a physical volume of LVM whose metadata cannot be read';
  try {
    const label = await readLabel(read);
    if (!label) return unreadable;
    if (!label.area) return 'it is a physical volume of LVM that holds no metadata';
    const text = await readText(read, label.area);
    const volumes = text === undefined ? unreadable : logicalVolumes(text, label.id);
    if (typeof volumes === 'string') return volumes;
    const fits = (each: LogicalVolume) => each.reason !== undefined || each.offsetBytes + each.sizeBytes <= sizeBytes;
    return volumes.map((each) =>
      fits(each) ? each : { name: each.name, sizeBytes: each.sizeBytes, reason: 'it reaches beyond its partition' },
    );
  } catch (error) {
    // A hostile or damaged disk: offsets out of range, or text that is none.
    if (error instanceof SyntaxError || error instanceof RangeError) return unreadable;
    throw error;
  }
};
