import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

export const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** What was encrypted for something else, with another key, or was changed since. */
export class Undecipherable extends Error {
  constructor(options?: ErrorOptions) {
    super('not readable with this key', options);
    this.name = 'Undecipherable';
  }
}

/**
 * AES-256-GCM with a fresh nonce: base64 of nonce, ciphertext and tag. `purpose` is bound to it, so that a stored text put
 * in the place of another one cannot be read there.
 */
export const encrypt = (key: Uint8Array, plain: Uint8Array, purpose: string): string => {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes }).setAAD(Buffer.from(purpose));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('base64');
};

/** Throws `Undecipherable`. */
export const decrypt = (key: Uint8Array, stored: string, purpose: string): Buffer => {
  const bytes = Buffer.from(stored, 'base64');
  if (bytes.length < nonceBytes + tagBytes) throw new Undecipherable();
  const nonce = bytes.subarray(0, nonceBytes);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
    .setAAD(Buffer.from(purpose))
    .setAuthTag(bytes.subarray(-tagBytes));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]);
  } catch (cause) {
    throw new Undecipherable({ cause });
  }
};
