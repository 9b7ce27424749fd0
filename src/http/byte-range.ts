import type { ByteSpan } from '#commands/export-disk.ts';
import { HttpProblem } from './errors.ts';

type Asked = Readonly<{ sizeBytes: number; etag: string; header: (name: string) => string | undefined }>;

/** What of a representation is sent, and how. */
export type PartialReply = Readonly<{ span: ByteSpan; status: 200 | 206; headers: Readonly<Record<string, string>> }>;

/** Digits beyond 2^53 mean the end in any case. */
const numberOf = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER);

type Parsed = ByteSpan | 'none' | 'unsatisfiable';

/** RFC 9110 14: what is no range of bytes, or several, is passed over, and everything is sent. */
const parseRange = (header: string | undefined, sizeBytes: number): Parsed => {
  const [, first = '', last = ''] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header ?? '') ?? [];
  if (first === '' && last === '') return 'none';
  if (first === '') {
    const length = Math.min(numberOf(last), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { offset: sizeBytes - length, length };
  }
  const offset = numberOf(first);
  const end = last === '' ? sizeBytes - 1 : numberOf(last);
  if (end < offset && last !== '') return 'none';
  return offset >= sizeBytes ? 'unsatisfiable' : { offset, length: Math.min(end, sizeBytes - 1) - offset + 1 };
};

/** Only the very same bytes may be gone on with: a strong comparison, and a date is none. */
const mayResume = ({ etag, header }: Asked): boolean => {
  const condition = header('if-range');
  return condition === undefined || condition.trim() === etag;
};

/** Answers `Range` and `If-Range`; throws the 416. */
export const partialReply = (asked: Asked): PartialReply => {
  const { sizeBytes, etag, header } = asked;
  const parsed = mayResume(asked) ? parseRange(header('range'), sizeBytes) : 'none';
  const common = { 'accept-ranges': 'bytes', etag };
  if (parsed === 'unsatisfiable') {
    const message = `The range lies beyond the ${sizeBytes} bytes that there are`;
    const headers = { ...common, 'content-range': `bytes */${sizeBytes}` };
    throw new HttpProblem({ status: 416, code: 'range-not-satisfiable', message, headers });
  }
  if (parsed === 'none') {
    const headers = { ...common, 'content-length': `${sizeBytes}` };
    return { span: { offset: 0, length: sizeBytes }, status: 200, headers };
  }
  const { offset, length } = parsed;
  const contentRange = `bytes ${offset}-${offset + length - 1}/${sizeBytes}`;
  return {
    ...{ span: parsed, status: 206 },
    headers: { ...common, 'content-length': `${length}`, 'content-range': contentRange },
  };
};
