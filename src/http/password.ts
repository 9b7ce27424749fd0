import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(argon2);

type Cost = Readonly<{ memoryKib: number; passes: number; parallelism: number }>;

// OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, 2 passes, 1 lane.
const cost: Cost = { memoryKib: 19_456, passes: 2, parallelism: 1 };
const saltBytes = 16;
const keyBytes = 32;

/** PHC string, so that a hash carries its own cost and may be verified after the cost has been raised. */
export const hashPassword = async (password: string): Promise<string> => {
  const salt = randomBytes(saltBytes);
  const key = await deriveKey(password, salt, cost);
  const { memoryKib, passes, parallelism } = cost;
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${unpadded(salt)}$${unpadded(key)}`;
};

/** False for a hash that is not of this form as well. */
export const verifyPassword = async (password: string, hash: string): Promise<boolean> => {
  const parts = phc.exec(hash)?.groups;
  if (!parts) return false;
  const { m, t, p, salt = '', key = '' } = parts;
  const expected = Buffer.from(key, 'base64');
  const stored = { memoryKib: Number(m), passes: Number(t), parallelism: Number(p) };
  const actual = await deriveKey(password, Buffer.from(salt, 'base64'), stored);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
};

/** Takes as long as a real one and never succeeds: names that exist must not answer later than others. */
export const verifyNothing = async (password: string): Promise<false> => {
  await deriveKey(password, randomBytes(saltBytes), cost);
  return false;
};

const base64 = '[A-Za-z0-9+/]';
const phc = new RegExp(
  `^\\$argon2id\\$v=19\\$m=(?<m>\\d{1,7}),t=(?<t>\\d{1,2}),p=(?<p>\\d{1,2})\\$(?<salt>${base64}{11,86})\\$(?<key>${base64}{43})$`,
);

/** On the thread pool: the event loop goes on, and no more than a few of these run at once. */
const deriveKey = (password: string, salt: Buffer, { memoryKib, passes, parallelism }: Cost): Promise<Buffer> =>
  derive('argon2id', {
    // People type the same letters in different Unicode forms on different keyboards.
    message: password.normalize('NFKC'),
    nonce: salt,
    memory: memoryKib,
    passes,
    parallelism,
    tagLength: keyBytes,
  });

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
