import { DomainError } from '#domain/errors.ts';

export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';

const missing = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'EINVAL']);

/** What says nothing about the file but that this host is short of something; to be tried again, so not a refusal. */
const exhausted = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EBADF', 'unknown']);

/** Of what a filesystem said, what the client is told; everything else stays as it is. */
export const refusalOf = (error: unknown): unknown => {
  const code = codeOf(error);
  if (error instanceof DomainError || exhausted.has(code)) return error;
  if (missing.has(code)) return fileNotFound({ cause: error });
  return new DomainError(
    'file-unreadable',
    `The filesystem in the backup cannot read this (${code}). An older backup may still hold it whole.`,
    {},
    { cause: error },
  );
};

export const fileNotFound = (options?: ErrorOptions): DomainError =>
  new DomainError(
    'file-not-found',
    'There is no such file in the backup. List its folder to see what is.',
    {},
    options,
  );

export const outside = (): DomainError =>
  new DomainError('path-outside-mount', "This leads out of the backup's filesystem and is not followed.");
