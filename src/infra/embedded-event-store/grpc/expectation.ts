import type { ExpectedRevision } from '../expected-revision.ts';
import { noStream } from '../expected-revision.ts';
import { invalidArgument } from './rpc-error.ts';

/** The four cases that every writing request has, under the names Append, Delete and Tombstone give them. */
export type ExpectedOptions = Readonly<{
  hasRevision: () => boolean;
  getRevision: () => string;
  hasNoStream: () => boolean;
  hasAny: () => boolean;
  hasStreamExists: () => boolean;
}>;

export const readExpectedRevision = (options: ExpectedOptions): ExpectedRevision => {
  if (options.hasRevision()) return { kind: 'exact', revision: Number(options.getRevision()) };
  if (options.hasNoStream()) return noStream;
  if (options.hasAny()) return { kind: 'any' };
  if (options.hasStreamExists()) return { kind: 'stream-exists' };
  throw invalidArgument('The expected revision is missing.');
};

/** As the trailer `expected-version` states it. */
export const expectedVersionOf = (options: ExpectedOptions): string => {
  if (options.hasRevision()) return options.getRevision();
  if (options.hasNoStream()) return '-1';
  return options.hasAny() ? '-2' : '-4';
};
