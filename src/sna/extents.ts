/** Byte ranges of a disk: sorted, not overlapping, not touching. All functions are pure. */
export type Extent = Readonly<{ offset: number; length: number }>;

export const union = (...lists: readonly (readonly Extent[])[]): readonly Extent[] => {
  const merged: { offset: number; length: number }[] = [];
  for (const { offset, length } of lists.flat().toSorted((a, b) => a.offset - b.offset)) {
    const last = merged.at(-1);
    if (last !== undefined && offset <= last.offset + last.length) {
      last.length = Math.max(last.length, offset + length - last.offset);
    } else if (length > 0) {
      merged.push({ offset, length });
    }
  }
  return merged;
};

export const totalBytes = (extents: readonly Extent[]): number => extents.reduce((sum, { length }) => sum + length, 0);

/** How many bytes of the extents lie before `offset`: a copy that walks the disk has moved that many. */
export const bytesBefore = (extents: readonly Extent[], offset: number): number =>
  extents.reduce((sum, extent) => sum + Math.min(extent.length, Math.max(0, offset - extent.offset)), 0);

const minRequestBytes = 64 * 1024;
const maxRequestBytes = 256 * 1024;

/**
 * The largest request that never reaches beyond an extent: nbdcopy copies a whole request when any part of it is
 * listed, so larger ones copy what did not change. Above 256 KiB it gets slower, not faster.
 */
export const requestSizeFor = (extents: readonly Extent[]): number => {
  let size = maxRequestBytes;
  while (size > minRequestBytes && extents.some(({ offset, length }) => offset % size !== 0 || length % size !== 0)) {
    size /= 2;
  }
  return size;
};

/** The file format of nbdkit's extentlist filter; what is not listed is a hole to it. */
export const extentList = (extents: readonly Extent[]): string =>
  extents.map(({ offset, length }) => `${offset} ${length}\n`).join('');
