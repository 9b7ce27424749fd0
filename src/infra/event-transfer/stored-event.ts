/** An event byte for byte as a store holds it: data and metadata are not parsed, since numbers beyond 2^53 would change. */
export type StoredEvent = Readonly<{
  stream: string;
  revision: bigint;
  /** Of its own log; another log numbers differently. */
  position: bigint;
  type: string;
  id: string;
  /** ISO 8601 UTC with seven digits of the second: stores count in units of 100 ns. */
  created: string;
  contentType: string;
  metadata: Uint8Array;
  data: Uint8Array;
}>;

/** Where an event stands and which one it is. */
export type EventRef = Readonly<{ stream: string; revision: bigint; position: bigint; id: string }>;

export const refOf = ({ stream, revision, position, id }: EventRef): EventRef => ({ stream, revision, position, id });

export const tombstoneType = '$streamDeleted';
export const metadataType = '$metadata';
/** Holds a revision whose event no longer existed when the log was exported. */
export const gapType = '$sendense-gap';
export const jsonContent = 'application/json';

export const metastreamPrefix = '$$';
export const isMetastream = (stream: string): boolean => stream.startsWith(metastreamPrefix);
export const metastreamOf = (stream: string): string => `${metastreamPrefix}${stream}`;
export const originalOf = (metastream: string): string => metastream.slice(metastreamPrefix.length);

/**
 * Whether the stream is part of the history. Other `$` streams (statistics, users, settings, what projections and
 * subscriptions of the server keep) belong to one server and would contradict those of another.
 */
export const isTransferable = (stream: string): boolean =>
  !stream.startsWith('$') || (isMetastream(stream) && !originalOf(stream).startsWith('$'));

const ticksPerMs = 10_000n;

/** `ticks`: units of 100 ns since 1970, as decimal text. */
export const createdFromTicks = (ticks: string): string => {
  const count = BigInt(ticks);
  const ms = new Date(Number(count / ticksPerMs)).toISOString();
  return `${ms.slice(0, -1)}${String(count % ticksPerMs).padStart(4, '0')}Z`;
};
