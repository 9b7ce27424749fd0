import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { eventFrames, type JobChange, type JobChangeFeed } from '#http/event-stream.ts';
import { type EventStreamDeps, eventStreamEndpoints } from '#http/routes/event-stream.ts';
import { rawRequest, serveApp, until } from './support.ts';

/** A log of changes that grows while it is read. */
const growingFeed = () => {
  const changes: JobChange[] = [];
  let grown = Promise.withResolvers<void>();
  const counts = { open: 0, taken: 0 };
  const feed: JobChangeFeed = {
    subscribe: async function* (from, signal) {
      let next = from === 'end' ? changes.length : changes.findIndex(({ position }) => position > from);
      if (next < 0) next = changes.length;
      counts.open += 1;
      const { promise: ended, resolve: end } = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => end());
      try {
        while (!signal.aborted) {
          const change = changes[next];
          if (change) {
            next += 1;
            counts.taken += 1;
            yield change;
          } else {
            await Promise.race([grown.promise, ended]);
          }
        }
      } finally {
        counts.open -= 1;
      }
    },
  };
  const append = (...added: readonly JobChange[]): void => {
    changes.push(...added);
    grown.resolve();
    grown = Promise.withResolvers();
  };
  return { feed, append, counts };
};

const change = (position: number, data: object = {}): JobChange => ({
  position: BigInt(position),
  type: 'BackupStarted',
  data: { backup_id: `b${position}`, ...data },
});

const frame = (position: number): string =>
  `id: ${position}\nevent: BackupStarted\ndata: {"backup_id":"b${position}"}\n\n`;

const serveStream = async (t: TestContext, deps: Partial<EventStreamDeps> = {}) => {
  const feed = growingFeed();
  const server = await serveApp(t, { endpoints: eventStreamEndpoints({ feed: feed.feed, ...deps }) });
  const open = async (headers: Record<string, string> = {}, query = '') => {
    const client = new AbortController();
    t.after(() => client.abort());
    const reply = await fetch(`${server.url}/api/v1/events/stream${query}`, { headers, signal: client.signal });
    return { reply, leave: () => client.abort(), read: readerOf(reply) };
  };
  return { ...server, ...feed, open };
};

/** Reads on until the text so far, without the greeting, is as long as what is expected. */
const readerOf = (reply: Response) => {
  let text = '';
  return async (expected: string): Promise<void> => {
    const reader = reply.body?.pipeThrough(new TextDecoderStream()).getReader();
    while (text.length < 'retry: 3000\n\n'.length + expected.length) {
      const { value, done } = (await reader?.read()) ?? { value: undefined, done: true };
      if (done) break;
      text += value;
    }
    assert.equal(text, `retry: 3000\n\n${expected}`);
  };
};

describe('the stream of job changes', () => {
  test('tells what happens from now on, each with its position', async (t) => {
    const { append, open, counts } = await serveStream(t);
    append(change(1));
    const { reply, read } = await open();
    assert.equal(reply.status, 200);
    assert.equal(reply.headers.get('content-type'), 'text/event-stream');
    await until(() => counts.open === 1, 'the feed is read');
    append(change(2), change(5));
    await read(frame(2) + frame(5));
  });

  test('goes on right behind the last event that a reader names', async (t) => {
    const { append, open } = await serveStream(t);
    append(change(1), change(2), change(5));
    await (await open({ 'last-event-id': '2' })).read(frame(5));
    await (await open({}, '?last_event_id=1')).read(frame(2) + frame(5));
    await (await open({ 'last-event-id': '0' })).read(frame(1) + frame(2) + frame(5));
    // A browser keeps the query it began with and sends where it was in the header.
    await (await open({ 'last-event-id': '2' }, '?last_event_id=0')).read(frame(5));
  });

  test('keeps positions that do not fit a double', async (t) => {
    const { append, open } = await serveStream(t);
    append({ ...change(1), position: 9_007_199_254_740_992n }, { ...change(1), position: 9_007_199_254_740_993n });
    const { read } = await open({ 'last-event-id': '9007199254740992' });
    await read(frame(1).replace('id: 1', 'id: 9007199254740993'));
  });

  test('refuses a Last-Event-ID that is no position', async (t) => {
    const { url } = await serveStream(t);
    for (const id of ['x', '-1', '1.5', '0x1', '1'.repeat(20)]) {
      const reply = await rawRequest(url, { path: '/api/v1/events/stream', headers: { 'last-event-id': id } });
      assert.equal(reply.status, 400, id);
      assert.match(JSON.parse(reply.text).error, /Last-Event-ID/);
    }
  });

  test('shows that it lives when nothing happens, and loses nothing by it', async (t) => {
    const { append, open } = await serveStream(t, { heartbeatMs: 30 });
    const { reply } = await open();
    const reader = reply.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes(frame(1))) {
      text += (await reader?.read())?.value ?? '';
      if (text.split(': heartbeat\n\n').length === 3) append(change(1));
    }
    assert.match(text, /^retry: 3000\n\n(: heartbeat\n\n){2,}id: 1\n/);
  });

  test('keeps what arrives while a heartbeat is being written', async (t) => {
    const { feed, append, counts } = growingFeed();
    const stop = new AbortController();
    t.after(() => stop.abort());
    const frames = eventFrames(feed, { from: 'end', heartbeatMs: 1, signal: stop.signal });
    assert.equal((await frames.next()).value, 'retry: 3000\n\n');
    assert.equal((await frames.next()).value, ': heartbeat\n\n');
    append(change(1), change(2));
    await until(() => counts.taken === 1, 'the first change is read');
    assert.equal((await frames.next()).value, frame(1));
    assert.equal((await frames.next()).value, frame(2));
  });

  test('does not read far ahead of a reader that takes nothing', async (t) => {
    const { append, url, counts } = await serveStream(t);
    const total = 2_000;
    append(...Array.from({ length: total }, (_, i) => change(i + 1, { filling: 'x'.repeat(10_000) })));
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    t.after(() => socket.destroy());
    socket.pause().write('GET /api/v1/events/stream?last_event_id=0 HTTP/1.1\r\nHost: localhost\r\n\r\n');
    let before = -1;
    const settled = (): boolean => {
      const still = counts.taken > 0 && counts.taken === before;
      before = counts.taken;
      return still;
    };
    await until(settled, 'the feed is no longer read');
    // What the sockets of both ends hold; 20 MB would be all.
    assert.ok(counts.taken < total / 2, `${counts.taken} taken`);
  });

  test('leaves the feed when its reader leaves', async (t) => {
    const { open, counts, lines } = await serveStream(t);
    const { leave } = await open();
    await until(() => counts.open === 1, 'the feed is read');
    leave();
    await until(() => counts.open === 0, 'the feed is left');
    await until(() => lines.some(({ message }) => message === 'request answered'), 'the request is logged');
    assert.deepEqual(
      lines.filter(({ level }) => level === 'error'),
      [],
    );
  });

  test('has room for so many readers and no more, until one leaves', async (t) => {
    const { open, counts, url } = await serveStream(t, { maxClients: 2 });
    const first = await open();
    await open();
    const { reply } = await open();
    assert.deepEqual([reply.status, reply.headers.get('retry-after')], [503, '30']);
    assert.equal(reply.headers.get('x-error-code'), 'too-many-readers');
    first.leave();
    await until(() => counts.open === 1, 'the feed is left');
    const head = await rawRequest(url, { method: 'HEAD', path: '/api/v1/events/stream' });
    assert.equal(head.status, 200);
    assert.equal((await open()).reply.status, 200);
    assert.equal((await open()).reply.status, 503);
  });

  test('ends when the server stops', async (t) => {
    const { open, close, counts, lines } = await serveStream(t);
    const { reply } = await open();
    await until(() => counts.open === 1, 'the feed is read');
    const text = reply.text();
    const began = performance.now();
    await close();
    assert.equal(await text, 'retry: 3000\n\n');
    assert.ok(performance.now() - began < 190, 'it did not wait for the grace to pass');
    assert.equal(counts.open, 0);
    assert.deepEqual(
      lines.filter(({ level }) => level === 'error'),
      [],
    );
  });

  test('ends after its time, so that the reader shows its token again', async (t) => {
    const { open, counts } = await serveStream(t, { maxDurationMs: 30 });
    const { reply } = await open();
    assert.equal(await reply.text(), 'retry: 3000\n\n');
    await until(() => counts.open === 0, 'the feed is left');
  });

  test('breaks off when the feed fails, so that nobody takes it for complete', async (t) => {
    const feed: JobChangeFeed = {
      subscribe: async function* () {
        yield change(1);
        throw new Error('the store is gone');
      },
    };
    const { url, lines } = await serveApp(t, { endpoints: eventStreamEndpoints({ feed }) });
    await assert.rejects((await fetch(`${url}/api/v1/events/stream`)).text());
    const failures = lines.filter(({ level }) => level === 'error');
    assert.deepEqual(
      failures.map(({ fields }) => String(fields.err)),
      ['Error: the store is gone'],
    );
  });
});
