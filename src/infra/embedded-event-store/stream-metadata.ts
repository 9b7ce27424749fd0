import { readStreamAccessList, type StreamAccessList } from './security/access-list.ts';

/**
 * What a stream's `$metadata` says about which of its events are visible, and to whom. Everything else in it is kept, not
 * acted on.
 */
export type StreamMetadata = Readonly<{
  maxCount?: number;
  maxAgeSeconds?: number;
  truncateBefore?: number;
  accessList?: StreamAccessList;
}>;

/**
 * `$tb` of a soft-deleted stream is 2^63 - 1. JSON numbers are doubles, so clients that read and rewrite it send something
 * near it; no stream ever gets that long.
 */
const deletedFrom = 9.22e18;
export const softDeletedMetadata = '{"$tb":9223372036854775807}';

export const noMetadata: StreamMetadata = {};
/** A metastream's own metadata is fixed: only its last event counts. */
export const metastreamMetadata: StreamMetadata = { maxCount: 1 };

export const metastreamOf = (streamName: string): string => `$$${streamName}`;
export const isMetastream = (streamName: string): boolean => streamName.startsWith('$$');
export const originalOf = (metastreamName: string): string => metastreamName.slice(2);

export const isSoftDeleted = ({ truncateBefore }: StreamMetadata): boolean =>
  truncateBefore !== undefined && truncateBefore >= deletedFrom;

const parseObject = (json: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const parsed: unknown = JSON.parse(json);
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : undefined;
  } catch {
    return undefined; // whatever a client stored under $metadata: malformed metadata counts as none
  }
};

const atLeast = (minimum: number, value: unknown): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value >= minimum ? value : undefined;

export const parseStreamMetadata = (json: string): StreamMetadata => {
  const raw = parseObject(json) ?? {};
  const maxCount = atLeast(1, raw.$maxCount);
  const maxAgeSeconds = atLeast(1, raw.$maxAge);
  const truncateBefore = atLeast(0, raw.$tb);
  const accessList = readStreamAccessList(raw.$acl);
  return {
    ...(maxCount !== undefined && { maxCount }),
    ...(maxAgeSeconds !== undefined && { maxAgeSeconds }),
    ...(truncateBefore !== undefined && { truncateBefore }),
    ...(accessList !== undefined && { accessList }),
  };
};

/** The metadata that brings a soft-deleted stream back from `revision` on; undefined if there is no object to change. */
export const revivedMetadata = (json: string, revision: number): string | undefined => {
  const raw = parseObject(json);
  return raw && JSON.stringify({ ...raw, $tb: revision });
};

/** First revision still visible, by count and truncation (not by age). */
export const firstVisibleRevision = ({ maxCount, truncateBefore }: StreamMetadata, lastRevision: number): number =>
  Math.max(0, maxCount === undefined ? 0 : lastRevision - maxCount + 1, truncateBefore ?? 0);

/** Events created before this are invisible. */
export const visibleSinceMs = ({ maxAgeSeconds }: StreamMetadata, nowMs: number): number =>
  maxAgeSeconds === undefined ? 0 : nowMs - maxAgeSeconds * 1000;
