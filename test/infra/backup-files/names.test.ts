import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesOf, rawOf, textOf } from '#infra/backup-files/names.ts';

/** Bytes that a name may have, many of them such that they are nearly UTF-8. */
const someBytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 20 }).map((text) => new Uint8Array(Buffer.from(text))),
  fc
    .array(fc.constantFrom(0xc3, 0xa9, 0xed, 0xa0, 0x80, 0xee, 0xbe, 0x41, 0xf0, 0x9f, 0x98, 0xff), { maxLength: 12 })
    .map((bytes) => Uint8Array.from(bytes)),
);

const rawName = someBytes.map((bytes) => Buffer.from(bytes).toString('latin1'));

test('every name comes back from its text, byte for byte', () => {
  fc.assert(
    fc.property(rawName, (raw) => {
      assert.equal(rawOf(textOf(raw)), raw);
    }),
    { numRuns: 2000 },
  );
});

test('the text of a name survives JSON and a browser building an address of it', () => {
  fc.assert(
    fc.property(rawName, (raw) => {
      const text = textOf(raw);
      assert.equal(JSON.parse(JSON.stringify(text)), text);
      assert.equal(new URLSearchParams(`path=${encodeURIComponent(text)}`).get('path'), text);
    }),
  );
});

test('two names never look alike', () => {
  fc.assert(
    fc.property(rawName, rawName, (a, b) => {
      assert.equal(textOf(a) === textOf(b), a === b);
    }),
  );
});

test('UTF-8 stands for itself, other bytes are shown one by one', () => {
  const raw = (bytes: Uint8Array | string) => Buffer.from(bytes as string).toString('latin1');
  assert.equal(textOf(raw('Größe 文件 😀.txt')), 'Größe 文件 😀.txt');
  assert.equal(textOf(raw(Uint8Array.of(0x47, 0x72, 0xf6, 0xdf))), 'Gr\ueff6\uefdf');
  assert.equal(textOf(raw('\uef80')), '\uefee\uefbe\uef80');
  assert.deepEqual(bytesOf(rawOf('\uefff')), Buffer.from([0xff]));
});

test('no text becomes a separator, a NUL or a dot that was not written as one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const special = (value: string) => value.replace(/[^/\0.]/g, '');
      assert.equal(special(rawOf(text)), special(text));
    }),
  );
});
