import { BlockList, isIPv6 } from 'node:net';
import type { Request } from 'express';
import type { AllowedOrigins } from './cors.ts';
import { HttpProblem } from './errors.ts';
import { hasForeignOrigin, isOwnHost } from './origin.ts';
import type { Authenticate } from './serve.ts';
import { type Sessions, tokenSha256 } from './sessions.ts';

export type AuthDeps = Readonly<{
  /** `off`: everybody who reaches the hub may do everything; only fit for loopback or behind a proxy that asks. */
  enabled: boolean;
  /** Whether callbacks of the backup client on this host's loopback need no token. */
  loopbackCallbacks: boolean;
  sessions: Sessions;
  /** Tokens that the operator handed out, by the lower-case SHA-256 of each in hex. */
  staticTokens: readonly string[];
  /** Of the token for the command line on the hub's host, in hex. */
  operatorTokenSha256?: string;
  cors: AllowedOrigins;
}>;

/**
 * Tells who calls. Three ways in: a token, the loopback exemption, and authentication switched off. The last two ask for no
 * secret, so they must not serve a web page which sends its visitor's browser here.
 */
export const createAuthenticate = (deps: AuthDeps): Authenticate => {
  const staticTokens = new Set(deps.staticTokens);

  const actorOfToken = async (token: string): Promise<string> => {
    const hash = tokenSha256(token);
    if (hash === deps.operatorTokenSha256) return 'operator:local';
    // Enough of the hash to tell which of the operator's tokens it was.
    if (staticTokens.has(hash)) return `token:${hash.slice(0, 8)}`;
    const actor = await deps.sessions.subjectOf(token);
    if (actor === undefined) throw unauthorized('Invalid or expired token');
    return actor;
  };

  return async (request, access) => {
    if (access === 'public') return 'anonymous';
    if (!deps.enabled) {
      if (hasForeignOrigin(request, deps.cors) || !isOwnHost(request, deps.cors)) throw foreignOrigin();
      return 'user:anonymous';
    }
    const header = request.get('authorization');
    if (header !== undefined) return actorOfToken(bearerToken(header));
    if (access === 'loopback-callback' && deps.loopbackCallbacks && isLocalProgram(request))
      return `node:${peerOf(request)}`;
    throw unauthorized('Missing authorization header');
  };
};

/** Throws the 401 for anything that is not `Bearer <token>`. */
export const bearerToken = (header: string): string => {
  const token = /^bearer +(\S+)$/i.exec(header)?.[1];
  if (token === undefined) throw unauthorized('Invalid authorization format');
  return token;
};

const unauthorized = (message: string): HttpProblem =>
  new HttpProblem({ status: 401, code: 'unauthorized', message, headers: { 'www-authenticate': 'Bearer' } });

const foreignOrigin = (): HttpProblem =>
  new HttpProblem({
    status: 403,
    code: 'foreign-origin',
    message: 'Pages of other origins may not use this hub; add the origin to SENDENSE_CORS to allow it',
  });

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

/** The TCP peer alone counts. The backup client is no browser, so an Origin means that somebody borrowed one. */
export const isLocalProgram = (request: Request): boolean => {
  const peer = peerOf(request);
  return loopback.check(peer, isIPv6(peer) ? 'ipv6' : 'ipv4') && request.get('origin') === undefined;
};

const peerOf = ({ socket }: Request): string => socket.remoteAddress?.replace(/^::ffff:/, '') ?? 'unknown';
