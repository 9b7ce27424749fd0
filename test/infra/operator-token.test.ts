import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { access, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { issueOperatorToken, operatorTokenPath } from '#infra/operator-token.ts';

describe('the token of the command line', () => {
  let dataDir: string;
  before(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'operator-token-'));
  });
  after(() => rm(dataDir, { recursive: true }));

  test('is readable by its owner alone, also where a killed hub left another, and is gone with the hub', async () => {
    const path = operatorTokenPath(dataDir);
    await writeFile(path, 'left behind', { mode: 0o644 });
    const { sha256, withdraw } = await issueOperatorToken(dataDir);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const token = (await readFile(path, 'utf8')).trim();
    assert.equal(createHash('sha256').update(token).digest('hex'), sha256);
    await withdraw();
    await assert.rejects(access(path), { code: 'ENOENT' });
  });

  test('is another one at each start', async () => {
    const first = await issueOperatorToken(dataDir);
    const second = await issueOperatorToken(dataDir);
    assert.notEqual(first.sha256, second.sha256);
    await second.withdraw();
  });
});
