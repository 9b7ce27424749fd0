import type { RequestHandler } from 'express';

/** Origins whose pages may use the API beside the hub's own; `*` among them means all. */
export type AllowedOrigins = readonly string[];

export const isAllowedOrigin = (origin: string, allowed: AllowedOrigins): boolean =>
  allowed.includes('*') || allowed.includes(origin);

const METHODS = 'GET, POST, PUT, PATCH, DELETE, OPTIONS';
const REQUEST_HEADERS = 'Content-Type, Authorization, Idempotency-Key, Last-Event-ID, X-Request-Id';
const REPLY_HEADERS = 'X-Request-Id, X-Error-Code, Retry-After';

/** Any OPTIONS is answered 200 with an empty body, on every path, whether or not the headers then allow anything. */
export const cors =
  (allowed: AllowedOrigins): RequestHandler =>
  (request, response, next) => {
    const origin = request.get('origin');
    if (!allowed.includes('*')) response.vary('Origin');
    if (origin !== undefined && isAllowedOrigin(origin, allowed)) {
      response.set('access-control-allow-origin', allowed.includes('*') ? '*' : origin);
      response.set('access-control-allow-methods', METHODS);
      response.set('access-control-allow-headers', REQUEST_HEADERS);
      response.set('access-control-expose-headers', REPLY_HEADERS);
      response.set('access-control-max-age', '600');
    }
    if (request.method === 'OPTIONS') response.status(200).end();
    else next();
  };
