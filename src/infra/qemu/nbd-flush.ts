import { connect, type Socket } from 'node:net';
import { addAbortSignal } from 'node:stream';

/*
 * The few messages that a flush takes, spoken directly: qemu-io would do as well, and costs a process of 40 ms.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
const nbdMagic = 0x4e42444d41474943n; // "NBDMAGIC"
const optionMagic = 0x49484156454f5054n; // "IHAVEOPT"
const requestMagic = 0x25609513;
const simpleReplyMagic = 0x67446698;
const clientFlags = 0b11; // fixed newstyle, no zeroes after the export's size
const optionExportName = 1;
const commandDisconnect = 2;
const commandFlush = 3;
const exportFlagSendFlush = 1 << 2;
const cookie = 1n;

/**
 * `acknowledged`: all that clients had been told was written is in the file. `refused`: the server could not write it
 * out. `unreachable`: no answer, which says nothing.
 */
export type FlushOutcome = Readonly<{ result: 'acknowledged' | 'refused' | 'unreachable'; detail: string }>;

export type FlushRequest = Readonly<{
  host: string;
  port: number;
  exportName: string;
  /** Until the server greets: it never does when all its connections are taken. */
  greetingTimeoutMs: number;
  /** Until the data is out: a slow disk may have much to write. */
  flushTimeoutMs: number;
}>;

const optionRequest = (exportName: string): Buffer => {
  const name = Buffer.from(exportName);
  const message = Buffer.alloc(4 + 16);
  message.writeUInt32BE(clientFlags, 0);
  message.writeBigUInt64BE(optionMagic, 4);
  message.writeUInt32BE(optionExportName, 12);
  message.writeUInt32BE(name.length, 16);
  return Buffer.concat([message, name]);
};

const command = (type: number): Buffer => {
  const message = Buffer.alloc(28);
  message.writeUInt32BE(requestMagic, 0);
  message.writeUInt16BE(type, 6);
  message.writeBigUInt64BE(cookie, 8);
  return message;
};

type Take = (length: number) => Promise<Buffer>;

/** Takes exactly so many bytes at a time; the protocol has no message that is read in any other way. */
const exactReader = (socket: Socket): Take => {
  const chunks: AsyncIterator<Buffer> = socket[Symbol.asyncIterator]();
  let received = Buffer.alloc(0);
  return async (length) => {
    while (received.length < length) {
      const { done, value } = await chunks.next();
      if (done) throw new Error('the server closed the connection');
      received = Buffer.concat([received, value]);
    }
    const taken = received.subarray(0, length);
    received = received.subarray(length);
    return taken;
  };
};

const negotiate = async (socket: Socket, take: Take, exportName: string): Promise<void> => {
  const greeting = await take(18);
  if (greeting.readBigUInt64BE(0) !== nbdMagic || greeting.readBigUInt64BE(8) !== optionMagic)
    throw new Error('no NBD server answers on the port');
  socket.write(optionRequest(exportName));
  const description = await take(10);
  if ((description.readUInt16BE(8) & exportFlagSendFlush) === 0) throw new Error('the export takes no flush');
};

const sendFlush = async (socket: Socket, take: Take): Promise<FlushOutcome> => {
  socket.write(command(commandFlush));
  const reply = await take(16);
  if (reply.readUInt32BE(0) !== simpleReplyMagic || reply.readBigUInt64BE(8) !== cookie)
    throw new Error('the server answered something else than a flush');
  const code = reply.readUInt32BE(4);
  socket.end(command(commandDisconnect));
  return code === 0
    ? { result: 'acknowledged', detail: 'the export acknowledged a flush' }
    : { result: 'refused', detail: `the export could not flush its data (NBD error ${code})` };
};

/** Makes an export write out everything, on a connection of its own, beside other clients. */
export const flushExport = async (request: FlushRequest, signal: AbortSignal): Promise<FlushOutcome> => {
  const { host, port, exportName, greetingTimeoutMs, flushTimeoutMs } = request;
  signal.throwIfAborted();
  const socket = addAbortSignal(signal, connect({ host, port }));
  socket.on('timeout', () => socket.destroy(new Error('the server did not answer in time')));
  socket.on('error', () => undefined); // the reader throws it
  try {
    const take = exactReader(socket);
    socket.setTimeout(greetingTimeoutMs);
    await negotiate(socket, take, exportName);
    socket.setTimeout(flushTimeoutMs);
    return await sendFlush(socket, take);
  } catch (error) {
    signal.throwIfAborted();
    return { result: 'unreachable', detail: `no flush: ${error instanceof Error ? error.message : String(error)}` };
  } finally {
    socket.destroy();
  }
};
