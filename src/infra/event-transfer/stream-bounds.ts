import { originalOf, type StoredEvent } from './stored-event.ts';

/** From here on `$tb` means that the stream is deleted: 2^63 - 1, which doubles do not hold exactly. */
const deletedFrom = 9.22e18;

type Bounds = Readonly<Record<string, unknown>>;

export const parseBounds = (data: Uint8Array): Bounds | undefined => {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(data).toString('utf8'));
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : undefined;
  } catch {
    return undefined; // a server takes it for no metadata, too
  }
};

/**
 * The data of a stream's `$metadata` event. Where the stream's first events no longer exist, markers hold their revisions in
 * the target: `$tb` must hide them, which `$maxAge` alone would not, since they are young there.
 */
export const withGapHidden = (
  { stream, data }: Pick<StoredEvent, 'stream' | 'data'>,
  firstRevisionOf: (stream: string) => bigint | undefined,
): Uint8Array => {
  const first = Number(firstRevisionOf(originalOf(stream)) ?? 0n);
  const bounds = parseBounds(data);
  if (first === 0 || first >= deletedFrom || !bounds) return data;
  const { $tb, $maxCount } = bounds;
  if ($maxCount !== undefined || (typeof $tb === 'number' && $tb >= first)) return data;
  return Buffer.from(JSON.stringify({ ...bounds, $tb: first }));
};
