import { isIP } from 'node:net';
import type { Request } from 'express';
import { type AllowedOrigins, isAllowedOrigin } from './cors.ts';

/** A browser says that the request comes from a page of another, not allowed, origin. */
export const hasForeignOrigin = (request: Request, allowed: AllowedOrigins): boolean => {
  const origin = request.get('origin');
  if (origin === undefined || isAllowedOrigin(origin, allowed)) return false;
  return URL.parse(origin)?.host !== request.get('host');
};

/**
 * False when the request was sent to a name that is not known to be ours: a foreign name may be made to resolve to
 * 127.0.0.1 (DNS rebinding), and then its pages count as same-origin.
 */
export const isOwnHost = (request: Request, allowed: AllowedOrigins): boolean => {
  if (allowed.includes('*')) return true;
  const name = URL.parse(`http://${request.get('host')}`)?.hostname ?? '';
  if (name === 'localhost' || isIP(name.replace(/^\[|\]$/g, '')) !== 0) return true;
  return allowed.some((origin) => URL.parse(origin)?.hostname === name);
};
