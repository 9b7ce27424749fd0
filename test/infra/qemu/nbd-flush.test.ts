import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { flushExport } from '#infra/qemu/nbd-flush.ts';
import { exporterFixture, neverAborted } from './exporter-fixture.ts';

const limits = { host: '127.0.0.1', exportName: 'e', greetingTimeoutMs: 200, flushTimeoutMs: 200 };

const server = async (t: TestContext, serve: (socket: Socket) => void): Promise<number> => {
  const sockets: Socket[] = [];
  const listener = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    listener.close();
  });
  const address = listener.address();
  assert.ok(address !== null && typeof address === 'object');
  return address.port;
};

/** NBD_CMD_FLUSH of the protocol. */
const commandFlush = 3;

const greeting = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), Buffer.from([0, 3])]);
const description = Buffer.from([0, 0, 0, 0, 0, 16, 0, 0, 0, 0b101]);
const reply = (error: number): Buffer => {
  const message = Buffer.alloc(16);
  message.writeUInt32BE(0x67446698, 0);
  message.writeUInt32BE(error, 4);
  message.writeBigUInt64BE(1n, 8);
  return message;
};

/** Answers the client's first message with the export's size, a flush with `answer` and nothing else. */
const nbdServer = (t: TestContext, answer: Buffer): Promise<number> =>
  server(t, (socket) => {
    socket.write(greeting);
    let negotiated = false;
    socket.on('data', (message) => {
      if (!negotiated) socket.write(description);
      else if (message.readUInt16BE(6) === commandFlush) socket.write(answer);
      negotiated = true;
    });
  });

test('qemu-nbd acknowledges a flush, and does not know a wrong export name', async (t) => {
  const { hub, request } = await exporterFixture(t);
  const exporter = hub();
  const { port, exportName, exportId } = await exporter.start(await request(), neverAborted);
  const asked = { ...limits, port, greetingTimeoutMs: 5_000, flushTimeoutMs: 5_000 };
  assert.equal((await flushExport({ ...asked, exportName }, neverAborted)).result, 'acknowledged');
  assert.equal((await flushExport({ ...asked, exportName: 'other' }, neverAborted)).result, 'unreachable');
  await exporter.stop(exportId, neverAborted);
});

test('a server that cannot write its data out refuses, with its error', async (t) => {
  const enospc = 28;
  const port = await nbdServer(t, reply(enospc));
  const { result, detail } = await flushExport({ ...limits, port }, neverAborted);
  assert.equal(result, 'refused');
  assert.match(detail, /28/);
});

const silences = [
  { what: 'never greets', serve: () => undefined },
  { what: 'closes at once', serve: (socket: Socket) => socket.end() },
  { what: 'speaks another protocol', serve: (socket: Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n') },
  { what: 'is cut off in the greeting', serve: (socket: Socket) => socket.end(greeting.subarray(0, 7)) },
  { what: 'never answers the flush', serve: silentAfterNegotiation },
];
for (const { what, serve } of silences) {
  test(`a server that ${what} is unreachable, in bounded time`, async (t) => {
    const port = await server(t, serve);
    assert.equal((await flushExport({ ...limits, port }, neverAborted)).result, 'unreachable');
  });
}

function silentAfterNegotiation(socket: Socket): void {
  socket.write(Buffer.concat([greeting, description]));
}

test('a port where nobody listens is unreachable', async () => {
  assert.equal((await flushExport({ ...limits, port: 1 }, neverAborted)).result, 'unreachable');
});

test('whoever waits for a flush can give up', async (t) => {
  const port = await server(t, () => undefined);
  const abort = new AbortController();
  const waiting = flushExport({ ...limits, port, greetingTimeoutMs: 60_000 }, abort.signal);
  abort.abort(new Error('shutting down'));
  await assert.rejects(waiting, /shutting down/);
});
