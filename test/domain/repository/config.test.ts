import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DomainError } from '#domain/errors.ts';
import {
  localConfigOf,
  normalPath,
  refuseImmutability,
  repositoryNameOf,
  repositoryTypeOf,
} from '#domain/repository/config.ts';

const refusalOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof DomainError, String(error));
    return `${error.code}: ${error.message}`;
  }
  return assert.fail('nothing was refused');
};

describe('the type of a repository', () => {
  test('may be local', () => assert.equal(repositoryTypeOf('local'), 'local'));
  for (const type of ['nfs', 'cifs', 'smb']) {
    test(`is refused for ${type}, with a way out`, () =>
      assert.equal(
        refusalOf(() => repositoryTypeOf(type)),
        `repository-option-unsupported: ${type} repositories are not supported yet; mount the share yourself and add it as a local repository`,
      ));
  }
  for (const type of ['s3', 'azure', 'floppy', 'LOCAL']) {
    test(`is refused for ${type}`, () =>
      assert.equal(
        refusalOf(() => repositoryTypeOf(type)),
        `repository-type-unsupported: Unsupported repository type: ${type}`,
      ));
  }
});

describe('the name of a repository', () => {
  test('is taken without the blanks around it', () => assert.equal(repositoryNameOf('  Büro 2 '), 'Büro 2'));
  test('may have 255 characters and no more', () => {
    assert.equal(repositoryNameOf('x'.repeat(255)).length, 255);
    assert.match(
      refusalOf(() => repositoryNameOf('x'.repeat(256))),
      /^invalid-request: .*255/,
    );
  });
  test('is required', () =>
    assert.match(
      refusalOf(() => repositoryNameOf(' \t ')),
      /name is required/,
    ));
  test('holds no line breaks', () =>
    assert.match(
      refusalOf(() => repositoryNameOf('a\nb')),
      /control characters/,
    ));
});

describe('the path of a local repository', () => {
  for (const [given, normal] of [
    ['/backup', '/backup'],
    ['/srv//backup/./a/', '/srv/backup/a'],
    ['/with space/ünï/..c', '/with space/ünï/..c'],
  ] as const) {
    test(`${given} is ${normal}`, () => assert.equal(normalPath(given), normal));
  }
  for (const [given, reason] of [
    ['backup', 'absolute'],
    ['./backup', 'absolute'],
    ['/backup/../etc', '".."'],
    ['/..', '".."'],
    ['/', 'below the root'],
    ['//./', 'below the root'],
    ['/a\0b', 'control characters'],
    ['/a\nb', 'control characters'],
    [`/${'x'.repeat(512)}`, '512'],
  ] as const) {
    test(`${JSON.stringify(given.slice(0, 20))} is refused: ${reason}`, () => {
      const refusal = refusalOf(() => normalPath(given));
      assert.ok(refusal.startsWith('invalid-request: ') && refusal.includes(reason), refusal);
    });
  }
  test('may have 512 characters', () => assert.equal(normalPath(`/${'x'.repeat(511)}`).length, 512));
});

describe('the config of a local repository', () => {
  test('keeps what is given', () =>
    assert.deepEqual(localConfigOf({ path: '/b/', autoMount: true, mountOptions: 'ro', description: 'old disks' }), {
      ...{ path: '/b', autoMount: true, mountOptions: 'ro', description: 'old disks' },
    }));
  test('has defaults for all but the path', () =>
    assert.deepEqual(localConfigOf({ path: '/b' }), {
      ...{ path: '/b', autoMount: false, mountOptions: '', description: '' },
    }));
  test('joins mount options given as a list', () =>
    assert.equal(localConfigOf({ path: '/b', mountOptions: ['ro', 'noatime'] }).mountOptions, 'ro,noatime'));
  test('needs a path', () => {
    assert.match(
      refusalOf(() => localConfigOf({})),
      /config\.path is required/,
    );
    assert.match(
      refusalOf(() => localConfigOf({ path: '' })),
      /config\.path is required/,
    );
  });
  test('has a bound for each text', () => {
    assert.match(
      refusalOf(() => localConfigOf({ path: '/b', description: 'x'.repeat(4_097) })),
      /description.*4096/,
    );
    assert.match(
      refusalOf(() => localConfigOf({ path: '/b', mountOptions: 'x'.repeat(4_097) })),
      /mount_options.*4096/,
    );
  });
});

describe('immutability', () => {
  const none = { isImmutable: false, minRetentionDays: 0, hasImmutableConfig: false };
  test('is not promised when it was not asked for', () => assert.doesNotThrow(() => refuseImmutability(none)));
  for (const asked of [{ isImmutable: true }, { minRetentionDays: 1 }, { hasImmutableConfig: true }]) {
    test(`is refused when asked for by ${Object.keys(asked)}`, () =>
      assert.match(
        refusalOf(() => refuseImmutability({ ...none, ...asked })),
        /^repository-option-unsupported: immutable repositories are not supported yet/,
      ));
  }
});
