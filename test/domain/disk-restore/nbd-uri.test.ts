import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseNbdUri } from '#domain/disk-restore/nbd-uri.ts';
import { DomainError } from '#domain/errors.ts';

describe('an NBD address', () => {
  const good = [
    ['nbd://kvm-1', { type: 'tcp', host: 'kvm-1', port: 10_809, exportName: '' }],
    ['nbd://10.0.0.5:10900/disk%200', { type: 'tcp', host: '10.0.0.5', port: 10_900, exportName: 'disk 0' }],
    ['nbd://[::1]:1/a/b', { type: 'tcp', host: '::1', port: 1, exportName: 'a/b' }],
    ['nbd+unix:///?socket=/run/a.sock', { type: 'unix', socket: '/run/a.sock', exportName: '' }],
    ['nbd+unix:///x?socket=/run/a%2Cb.sock', { type: 'unix', socket: '/run/a,b.sock', exportName: 'x' }],
  ] as const;
  for (const [uri, place] of good) test(`${uri} is understood`, () => assert.deepEqual(parseNbdUri(uri), place));

  const bad = [
    ...[
      '',
      'nbd',
      'http://10.0.0.5',
      'nbds://10.0.0.5',
      'file:///etc/passwd',
      'nbd://user@10.0.0.5/x',
      'nbd://h/x?tls=1',
    ],
    ...['nbd://h:99999', 'nbd+unix:///x', 'nbd+unix:///?socket=relative', 'nbd+unix://host/?socket=/a', 'nbd://h/x#y'],
    ...[
      'nbd+unix:///?socket=/a&socket=/b',
      'nbd+unix:///?socket=/a&tls=1',
      'nbd://h/%zz',
      'nbd://h/%00',
      ' nbd://h/x',
      'nbd:///x',
    ],
  ];
  for (const uri of bad) {
    test(`${JSON.stringify(uri)} is refused`, () =>
      assert.throws(
        () => parseNbdUri(uri),
        (error) => error instanceof DomainError && error.code === 'invalid-request',
      ));
  }
});
