import type { RequestHandler } from 'express';
import { rateLimit } from 'express-rate-limit';
import { HttpProblem } from './errors.ts';

/** Counts what was refused with 401, by the TCP peer's address (an IPv6 subnet is one), over a minute; then 429. */
export const limitFailedLogins = (perMinute: number): RequestHandler =>
  rateLimit({
    windowMs: 60_000,
    limit: perMinute,
    skipSuccessfulRequests: true,
    requestWasSuccessful: (_request, { statusCode }) => statusCode !== 401,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    // It warns on the console about forwarded-for headers, which this hub does not look at, by design.
    validate: false,
    handler: (_request, _response, next) =>
      next(
        new HttpProblem({
          status: 429,
          code: 'too-many-logins',
          message: 'Too many failed logins; try again in a minute',
        }),
      ),
  });
