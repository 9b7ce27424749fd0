import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { createApp } from '#http/app.ts';
import { listen } from '#http/listen.ts';
import { resource } from '#http/route.ts';
import { memoryLog, openDoor, serveApp } from './support.ts';

const { endpoint } = resource({ tag: 'Simple', group: 'E1' });
const simple = endpoint('GET /simple', { summary: 'Works', reply: z.object({}), handle: async () => ({}) });

describe('the server', () => {
  test('stops at once although a client keeps its connection', async (t) => {
    const server = await serveApp(t, { endpoints: [simple] });
    const { port } = new URL(server.url);
    const socket = connect(Number(port), '127.0.0.1');
    t.after(() => socket.destroy());
    const ended = new Promise((resolve) => socket.once('close', resolve));
    const answered = new Promise((resolve) => socket.once('data', resolve));
    socket.write('GET /api/v1/simple HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await answered;
    await server.close();
    await ended;
    await server.close();
  });

  test('lets a running request finish before it stops', async (t) => {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const slow = endpoint('GET /slow', {
      summary: 'Waits',
      reply: z.object({ done: z.boolean() }),
      handle: async () => {
        begin();
        await released;
        return { done: true };
      },
    });
    const server = await serveApp(t, { endpoints: [slow] });
    const request = fetch(`${server.url}/api/v1/slow`);
    await begun;
    const closing = server.close();
    release();
    assert.deepEqual(await (await request).json(), { done: true });
    await closing;
  });

  test('cuts a request that outlasts the grace', async (t) => {
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const stuck = endpoint('GET /stuck', {
      summary: 'Never answers',
      reply: z.object({}),
      handle: async ({ signal }) => {
        begin();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return {};
      },
    });
    const server = await serveApp(t, { endpoints: [stuck] });
    const request = assert.rejects(fetch(`${server.url}/api/v1/stuck`));
    await begun;
    await server.close();
    await request;
  });

  test('says what is wrong when its port is taken', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple] });
    const app = createApp({ endpoints: [], authenticate: openDoor, log: memoryLog().log, cors: [] });
    await assert.rejects(listen(app, { host: '127.0.0.1', port: Number(new URL(url).port) }), { code: 'EADDRINUSE' });
  });
});
