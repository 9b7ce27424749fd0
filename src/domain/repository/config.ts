import { DomainError } from '../errors.ts';

/** `local`: a directory of the storage node. Further words are reserved; `repositoryTypeOf` tells what becomes of them. */
export type RepositoryType = 'local';

export type LocalConfig = Readonly<{
  /** Absolute and normalised: no `.`, `..`, doubled or trailing slash. */
  path: string;
  autoMount: boolean;
  /** Comma-joined. */
  mountOptions: string;
  description: string;
}>;

/** As clients send it. */
export type GivenConfig = Readonly<{
  path?: string | undefined;
  autoMount?: boolean | undefined;
  mountOptions?: string | readonly string[] | undefined;
  description?: string | undefined;
}>;

/** What would make backups unchangeable for a time; none of it is enforced yet, so none of it is taken. */
export type GivenImmutability = Readonly<{
  isImmutable: boolean;
  minRetentionDays: number;
  hasImmutableConfig: boolean;
}>;

const maxNameLength = 255;
const maxPathLength = 512;
const maxTextLength = 4_096;

/** They break lines of logs, mount tables and side files. */
const controlCharacters = /\p{Cc}/u;

const shares: ReadonlySet<string> = new Set(['nfs', 'cifs', 'smb']);

const invalid = (message: string): DomainError => new DomainError('invalid-request', `Invalid request: ${message}`);

/** Throws for a word that is not served. */
export const repositoryTypeOf = (word: string): RepositoryType => {
  if (word === 'local') return word;
  if (shares.has(word)) {
    throw new DomainError(
      'repository-option-unsupported',
      `${word} repositories are not supported yet; mount the share yourself and add it as a local repository`,
      { type: word },
    );
  }
  throw new DomainError('repository-type-unsupported', `Unsupported repository type: ${word}`, { type: word });
};

export const repositoryNameOf = (text: string): string => {
  const name = text.trim();
  if (name === '') throw invalid('name is required');
  if (name.length > maxNameLength) throw invalid(`name must have at most ${maxNameLength} characters`);
  if (controlCharacters.test(name)) throw invalid('name must not hold control characters');
  return name;
};

const shortText = (name: string, text: string): string => {
  if (text.length <= maxTextLength) return text;
  throw invalid(`config.${name} must have at most ${maxTextLength} characters`);
};

/** `/srv//backup/./a/` to `/srv/backup/a`. Throws for a path that is relative, leads upwards, or is the root itself. */
export const normalPath = (text: string): string => {
  if (!text.startsWith('/')) throw invalid('config.path must be an absolute path');
  if (controlCharacters.test(text)) throw invalid('config.path must not hold control characters');
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid('config.path must not contain ".."');
  if (parts.length === 0) throw invalid('config.path must be a directory below the root');
  const path = `/${parts.join('/')}`;
  if (path.length > maxPathLength) throw invalid(`config.path must have at most ${maxPathLength} characters`);
  return path;
};

export const localConfigOf = (given: GivenConfig): LocalConfig => {
  const { path, autoMount = false, mountOptions = '', description = '' } = given;
  if (path === undefined || path === '') throw invalid('config.path is required');
  return {
    path: normalPath(path),
    autoMount,
    mountOptions: shortText('mount_options', typeof mountOptions === 'string' ? mountOptions : mountOptions.join(',')),
    description: shortText('description', description),
  };
};

/** A promise of immutability that nothing keeps would be worse than none. */
export const refuseImmutability = (given: GivenImmutability): void => {
  if (!given.isImmutable && given.minRetentionDays === 0 && !given.hasImmutableConfig) return;
  throw new DomainError(
    'repository-option-unsupported',
    'immutable repositories are not supported yet; leave is_immutable, immutable_config and min_retention_days away',
  );
};
