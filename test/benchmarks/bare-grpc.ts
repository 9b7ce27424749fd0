/** What gRPC alone costs, as a program: an empty call, and a stream that repeats one message. Prints its port. */
import { once } from 'node:events';
import { Server, ServerCredentials, type ServerWritableStream, type sendUnaryData } from '@grpc/grpc-js';
import { bareGrpc } from './bare-grpc-service.ts';

const empty = (_: unknown, callback: sendUnaryData<Buffer>): void => callback(null, Buffer.alloc(0));

/** The request is the number of times, and then the message. */
const repeat = async (call: ServerWritableStream<Buffer, Buffer>): Promise<void> => {
  const times = call.request.readUInt32BE(0);
  const message = call.request.subarray(4);
  for (let sent = 0; sent < times; sent += 1) if (!call.write(message)) await once(call, 'drain');
  call.end();
};

const server = new Server();
server.addService(bareGrpc, { empty, repeat: (call: ServerWritableStream<Buffer, Buffer>) => void repeat(call) });
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${port}\n`);
});
process.stdin.on('end', () => process.exit(0)).resume();
