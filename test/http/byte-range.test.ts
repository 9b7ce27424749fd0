import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { partialReply } from '../../src/http/byte-range.ts';
import { HttpProblem } from '../../src/http/errors.ts';

const sizeBytes = 1_000;
const etag = '"disk-1"';

const ask = (headers: Readonly<Record<string, string>>) =>
  partialReply({ sizeBytes, etag, header: (name) => headers[name] });

describe('a range of bytes', () => {
  const parts = [
    ['bytes=0-0', 0, 1],
    ['bytes=10-19', 10, 10],
    ['bytes=990-', 990, 10],
    ['bytes=990-99999999999999999999', 990, 10],
    ['bytes=-1', 999, 1],
    ['bytes=-5000', 0, 1_000],
    ['Bytes= 0-9 ', 0, 10],
  ] as const;
  for (const [range, offset, length] of parts) {
    test(`${range} is sent as it is asked for`, () => {
      const { span, status, headers } = ask({ range });
      assert.deepEqual([span, status], [{ offset, length }, 206]);
      assert.deepEqual(headers, {
        ...{ 'accept-ranges': 'bytes', etag, 'content-length': String(length) },
        'content-range': `bytes ${offset}-${offset + length - 1}/1000`,
      });
    });
  }

  for (const range of ['bytes=1000-', 'bytes=5000-6000', 'bytes=-0']) {
    test(`${range} lies beyond what there is`, () =>
      assert.throws(
        () => ask({ range }),
        (error) =>
          error instanceof HttpProblem &&
          error.problem.status === 416 &&
          error.problem.headers['content-range'] === 'bytes */1000',
      ));
  }

  for (const range of ['bytes=', 'bytes=-', 'bytes=9-3', 'bytes=0-1,5-6', 'lines=0-1', 'bytes=a-b']) {
    test(`${range} is none, and everything is sent`, () => {
      const { span, status, headers } = ask({ range });
      assert.deepEqual([span, status, headers['content-length']], [{ offset: 0, length: 1_000 }, 200, '1000']);
    });
  }

  test('goes on only with the very same bytes', () => {
    const status = (condition: string) => ask({ range: 'bytes=500-', 'if-range': condition }).status;
    assert.equal(status(etag), 206);
    assert.equal(status('"disk-2"'), 200);
    assert.equal(status('W/"disk-1"'), 200);
    assert.equal(status('Sun, 22 Nov 2026 07:00:00 GMT'), 200);
    assert.equal(ask({ range: 'bytes=5000-', 'if-range': '"disk-2"' }).status, 200);
  });
});
