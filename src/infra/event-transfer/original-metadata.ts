import { exportedKey } from '../event-store/recorded.ts';
import type { StoredEvent } from './stored-event.ts';

const maxAppendBytes = 1024 * 1024;
const jsonObject = /^\s*\{/;
const emptyObject = /^\s*\{\s*\}\s*$/;

/** As stores count it against their limit. */
export const sizeOf = ({ data, metadata, type }: Pick<StoredEvent, 'data' | 'metadata' | 'type'>): number =>
  data.length + metadata.length + 2 * type.length;

const isObject = (text: string): boolean => {
  if (!jsonObject.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false; // bytes of somebody's own, which stay as they are
  }
};

/**
 * The event's metadata with its first position and time put in front; the rest stays byte for byte. Metadata that is no JSON
 * object, that tells of an earlier move already, or that would get too big for the store stays as it is.
 */
export const withOriginal = (event: StoredEvent): Uint8Array => {
  const text = Buffer.from(event.metadata).toString('utf8');
  const isEmpty = event.metadata.length === 0;
  if (!isEmpty && (!isObject(text) || text.includes(`"${exportedKey}"`))) return event.metadata;
  const original = `"${exportedKey}":${JSON.stringify({ position: String(event.position), created: event.created })}`;
  const rest = isEmpty || emptyObject.test(text) ? '}' : `,${text.slice(text.indexOf('{') + 1)}`;
  const metadata = Buffer.from(`{${original}${rest}`);
  return sizeOf({ ...event, metadata }) > maxAppendBytes ? event.metadata : metadata;
};
