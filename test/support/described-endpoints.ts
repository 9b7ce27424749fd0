import type { Endpoint } from '#http/route.ts';
import { createEndpoints, type EndpointDeps } from '../../src/composition/endpoints.ts';

/** Endpoints are only described here, never called: whatever they are built from is not needed. */
const nothing: object = new Proxy(() => nothing, {
  get: (_target, name) => (name === Symbol.toPrimitive ? () => 0 : nothing),
  apply: () => nothing,
});

const services = new Proxy(nothing, {
  get: (target, name) =>
    name === 'pool' ? { storageNode: 'n', first: 10_100, last: 10_200 } : Reflect.get(target, name),
});

const parts = new Proxy(nothing, {
  get: (target, name) => (name === 'services' ? services : Reflect.get(target, name)),
});

/** Everything that the hub serves. */
export const describedEndpoints = (): readonly Endpoint[] => createEndpoints(parts as unknown as EndpointDeps);
