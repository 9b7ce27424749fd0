import { type ServerWritableStream, status, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { ScavengeRunning } from '../scavenger.ts';
import { requireOperator } from '../security/authoriser.ts';
import { RpcError, toRpcError } from './rpc-error.ts';
import type { Service } from './service.ts';

type Call = ServerWritableStream<unknown, object>;

const progressEveryMs = 100;

const toMaintenanceError = (error: unknown): RpcError =>
  error instanceof ScavengeRunning ? new RpcError(status.FAILED_PRECONDITION, error.message) : toRpcError(error);

/** Goes on until it is done or the caller leaves; tells how far it is now and then, and at the end. */
const createCall =
  <P extends Readonly<{ done: boolean }>>({ calls, authoriser }: Service, start: () => AsyncIterable<P>) =>
  (call: Call): void => {
    let ended = false;
    const end = () => {
      ended = true;
    };
    const unregister = calls.add((error) => {
      end();
      call.emit('error', error);
    });
    const perform = async () => {
      requireOperator(await authoriser.identify(call.metadata));
      let toldAtMs = Number.NEGATIVE_INFINITY;
      for await (const progress of start()) {
        if (ended) return;
        if (!progress.done && performance.now() - toldAtMs < progressEveryMs) continue;
        toldAtMs = performance.now();
        call.write(progress);
      }
      call.end();
    };
    call.on('cancelled', end).on('close', end);
    perform()
      .catch((error: unknown) => {
        if (!ended) call.emit('error', toMaintenanceError(error));
      })
      .finally(unregister);
  };

export const createMaintenanceCalls = (service: Service): UntypedServiceImplementation => ({
  scavenge: createCall(service, () => service.storage.scavenge()),
  verify: createCall(service, () => service.storage.verify()),
});
