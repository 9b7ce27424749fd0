import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { writeUser } from '#infra/embedded-event-store/security/edit-users-file.ts';
import { TooManySignIns, Users } from '#infra/embedded-event-store/security/users.ts';
import { readUsersFile, UsersFileError } from '#infra/embedded-event-store/security/users-file.ts';

const usersFile = async (t: TestContext, content?: string, mode = 0o600): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), 'sendense-users-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'users');
  if (content !== undefined) {
    await writeFile(path, content);
    await chmod(path, mode);
  }
  return path;
};

const silent = () => undefined;

test('a users file has a user a line, comments and empty lines', async (t) => {
  const path = await usersFile(
    t,
    '# people\n\nadmin:hash-1:$admins\n  ada:hash-2:drivers,auditors \nbob:hash-3:\neve:hash-4\n',
  );
  assert.deepEqual(
    [...readUsersFile(path, silent).values()],
    [
      { name: 'admin', passwordHash: 'hash-1', groups: ['$admins'] },
      { name: 'ada', passwordHash: 'hash-2', groups: ['drivers', 'auditors'] },
      { name: 'bob', passwordHash: 'hash-3', groups: [] },
      { name: 'eve', passwordHash: 'hash-4', groups: [] },
    ],
  );
});

test('a line without groups has the usual ones, and a password in clear text is warned of by name', async (t) => {
  const warnings: string[] = [];
  const path = await usersFile(t, 'admin:changeit\nops:$argon2id$v=19$hash\nada:secret\n');
  const users = readUsersFile(path, (sentence) => warnings.push(sentence));
  assert.deepEqual(
    [...users.values()].map(({ name, groups }) => [name, groups]),
    [
      ['admin', ['$admins']],
      ['ops', ['$ops']],
      ['ada', []],
    ],
  );
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /clear text \(admin, ada\)/);
  assert.doesNotMatch(warnings[0] ?? '', /changeit|secret/);
});

for (const [what, content, sentence] of [
  ['a line without a hash', 'ada:hash\nbob\n', /^Line 2 of .* is not NAME:PASSWORD-HASH:GROUP,GROUP\.$/],
  ['a user who is called like a group of the system', '$admins:hash:\n', /^Line 1 /],
  ['a member of everybody', 'ada:hash:$all\n', /^Line 1 /],
  ['a user twice', 'ada:hash:\nada:hash:\n', /has the user ada twice\.$/],
  ['nobody', '# nobody\n', /^There is no user in /],
] as const) {
  test(`a users file with ${what} is refused with a sentence`, async (t) => {
    const path = await usersFile(t, content);
    assert.throws(
      () => readUsersFile(path, silent),
      (error) => error instanceof UsersFileError && sentence.test(error.message),
    );
  });
}

test('a users file that is missing, or that others may write to, is refused; one that they may read is warned of', async (t) => {
  assert.throws(() => readUsersFile('/nowhere/users', silent), /cannot be read \(ENOENT\)/);
  const writable = await usersFile(t, 'ada:hash:\n', 0o620);
  assert.throws(() => readUsersFile(writable, silent), /Others may write to .* chmod 600/);
  const warnings: string[] = [];
  readUsersFile(await usersFile(t, 'ada:$argon2id$hash:\n', 0o644), (sentence) => warnings.push(sentence));
  assert.match(warnings.join('\n'), /^Others may read .* chmod 600 on it\.$/);
});

test('a user is added or replaced, everything else stays', async (t) => {
  const path = await usersFile(t);
  writeUser(path, { name: 'admin', passwordHash: 'one' });
  writeUser(path, { name: 'ops', passwordHash: 'two' });
  writeUser(path, { name: 'ada', passwordHash: 'three', groups: ['drivers'] });
  await writeFile(path, `# people\n${await readFile(path, 'utf8')}`);
  writeUser(path, { name: 'ada', passwordHash: 'four' });
  writeUser(path, { name: 'admin', passwordHash: 'five', groups: ['$admins', 'drivers'] });
  assert.equal(await readFile(path, 'utf8'), '# people\nadmin:five:$admins,drivers\nops:two:$ops\nada:four:drivers\n');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.throws(() => writeUser(path, { name: 'a:b', passwordHash: 'x' }), UsersFileError);
  assert.throws(() => writeUser(path, { name: 'eve', passwordHash: 'x', groups: ['$all'] }), UsersFileError);
});

/** A hash that is the password itself; counts how often it is compared, and can be kept waiting. */
const countingPasswords = () => {
  const counted = { hashed: 0, gate: Promise.resolve() };
  const verify = async (password: string, hash: string) => {
    counted.hashed += 1;
    await counted.gate;
    return password === hash;
  };
  return {
    counted,
    passwords: { verify, verifyNothing: (password: string) => verify(password, '').then(() => false as const) },
  };
};

test('a password is hashed once, also when many sign in at once; a wrong one each time', async (t) => {
  const path = await usersFile(t, 'ada:right:drivers\n');
  const { counted, passwords } = countingPasswords();
  const users = new Users({ path, passwords, warn: silent });
  const identities = await Promise.all(Array.from({ length: 50 }, () => users.signIn('ada', 'right')));
  assert.deepEqual(identities, Array(50).fill({ name: 'ada', groups: ['drivers'] }));
  await users.signIn('ada', 'right');
  assert.equal(counted.hashed, 1);
  assert.equal(await users.signIn('ada', 'wrong'), undefined);
  assert.equal(await users.signIn('ada', 'wrong'), undefined);
  assert.equal(await users.signIn('nobody', 'right'), undefined);
  assert.equal(counted.hashed, 4, 'a name that does not exist costs the same');
});

test('more sign-ins than can be hashed in time are turned away, those who are known are not', async (t) => {
  const path = await usersFile(t, 'ada:right:\n');
  const { counted, passwords } = countingPasswords();
  const users = new Users({ path, passwords, warn: silent });
  await users.signIn('ada', 'right');
  const { promise, resolve } = Promise.withResolvers<void>();
  counted.gate = promise;
  const guesses = Array.from({ length: 128 }, (_, n) => users.signIn('ada', `guess ${n}`));
  await assert.rejects(users.signIn('ada', 'one more'), TooManySignIns);
  assert.ok(await users.signIn('ada', 'right'));
  resolve();
  assert.deepEqual(await Promise.all(guesses), Array(128).fill(undefined));
});
