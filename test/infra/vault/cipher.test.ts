import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { decrypt, encrypt, Undecipherable } from '#infra/vault/cipher.ts';

const key = randomBytes(32);
const plain = Buffer.from('Geheim-7731 ü');

describe('the cipher of the vault', () => {
  test('gives back what was encrypted, and writes it differently each time', () => {
    const stored = encrypt(key, plain, 'a');
    assert.deepEqual(decrypt(key, stored, 'a'), plain);
    assert.notEqual(encrypt(key, plain, 'a'), stored);
    assert.deepEqual(decrypt(key, encrypt(key, Buffer.alloc(0), 'a'), 'a'), Buffer.alloc(0));
  });

  test('stores base64 of a nonce of 12 bytes, the ciphertext and a tag of 16', () =>
    assert.equal(Buffer.from(encrypt(key, plain, 'a'), 'base64').length, 12 + plain.length + 16));

  test('reads nothing with another key, for another purpose, changed or cut', () => {
    const stored = encrypt(key, plain, 'a');
    assert.throws(() => decrypt(randomBytes(32), stored, 'a'), Undecipherable);
    assert.throws(() => decrypt(key, stored, 'b'), Undecipherable);
    const bytes = Buffer.from(stored, 'base64');
    for (let index = 0; index < bytes.length; index += 1) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 1;
      assert.throws(() => decrypt(key, changed.toString('base64'), 'a'), Undecipherable, `byte ${index}`);
      assert.throws(() => decrypt(key, bytes.subarray(0, index).toString('base64'), 'a'), Undecipherable);
    }
  });
});
