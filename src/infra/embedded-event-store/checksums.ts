import { crc32 } from 'node:zlib';
import type { EventHeader } from './event-rows.ts';

/**
 * SQLite does not notice a flipped bit in its main file. Every row therefore carries a CRC-32 of what it says, checked
 * whenever it is read. A CRC finds each error of up to 32 bits in a row, and others but for one in four thousand million.
 */
type Summed = Omit<EventHeader, 'headerSum'>;

/** Of what is needed to decide whether an event is wanted, so that its payload need not be read for that. */
export const headerSum = ({ position, streamId, revision, createdMs, type }: Summed): number =>
  crc32(`${position} ${streamId} ${revision} ${createdMs} ${type}`);

/** Of the payload together with where it belongs. */
export const recordSum = (record: Uint8Array, itsHeaderSum: number): number => crc32(record, itsHeaderSum);

/** Of any row that is small. */
export const rowSum = (...values: readonly (number | string)[]): number => crc32(values.join(' '));
