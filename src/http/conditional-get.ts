import { HttpProblem } from './errors.ts';

type Header = (name: string) => string | undefined;

export type Validators = Readonly<{
  /** With its quotes. */
  etag: string;
  modifiedAt: string;
}>;

const secondsOf = (date: string | undefined): number => Math.floor(Date.parse(date ?? '') / 1000);

const tagsOf = (list: string): readonly string[] => list.split(',').map((tag) => tag.trim());

/** RFC 9110 13.1.1: the strong comparison. */
const hasTag = (list: string, etag: string): boolean => list.trim() === '*' || tagsOf(list).includes(etag);

/** 13.1.2: the weak one. */
const hasWeakTag = (list: string, etag: string): boolean =>
  list.trim() === '*' || tagsOf(list).some((tag) => tag.replace(/^W\//, '') === etag);

/** In the order of RFC 9110 13.2.2: throws the 412, tells whether it is a 304. A date that is none asks for nothing. */
export const isNotModified = (header: Header, { etag, modifiedAt }: Validators): boolean => {
  const match = header('if-match');
  const changed = secondsOf(modifiedAt) > secondsOf(header('if-unmodified-since'));
  if (match === undefined ? changed : !hasTag(match, etag))
    throw new HttpProblem({
      status: 412,
      code: 'precondition-failed',
      message: 'This is not the file that the request means. Download it from its beginning.',
    });
  const noneMatch = header('if-none-match');
  if (noneMatch !== undefined) return hasWeakTag(noneMatch, etag);
  return secondsOf(modifiedAt) <= secondsOf(header('if-modified-since'));
};

/** 13.1.5: the date of a file that never changes is as good as its tag, so it is turned into that. */
export const withTagForDate =
  (header: Header, { etag, modifiedAt }: Validators): Header =>
  (name) => {
    const value = header(name);
    return name === 'if-range' && secondsOf(value) === secondsOf(modifiedAt) ? etag : value;
  };
