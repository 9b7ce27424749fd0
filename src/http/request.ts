import { createHash, randomUUID } from 'node:crypto';
import type { CommandContext } from '#commands/ports.ts';
import type { AuditedAppend } from '#domain/audit/entry.ts';
import type { AuditNote } from './audit.ts';
import { HttpProblem } from './errors.ts';

/** A client's promise that requests with this key are one and the same. */
export type Idempotency = Readonly<{
  key: string;
  /** Method and path pattern. */
  operation: string;
  /** Of method, path, query and body: tells a repeat from another request under a used key. */
  requestSha256: string;
}>;

/** What an endpoint knows about a request besides its validated parts. */
export type RequestFacts = Readonly<{
  /** `user:admin`, `node:127.0.0.1`, …; written into the metadata of events. */
  actor: string;
  /** The TCP peer, never a forwarded-for header. */
  address: string;
  requestId: string;
  idempotency: Idempotency | undefined;
  /** Aborts when the client has gone before it was answered. */
  signal: AbortSignal;
  /** For the audit trail: what only the handler knows, such as who a login was for. */
  audited: (note: AuditNote) => void;
  /** What this request has appended so far, for who writes the entry of a read by itself. */
  appended: () => readonly AuditedAppend[];
  /**
   * The command is accepted and its events are in the log, while the reply still waits: lets the trail be written meanwhile.
   * `reply`: the parts of it that tell the object's id.
   */
  accepted: (reply: object) => void;
  /** A request header, by its lower-case name. */
  header: (name: string) => string | undefined;
  /**
   * For the commands of this request. The same Idempotency-Key from the same actor on the same route and path gives the same
   * `commandId`; without a key every call of this function gives another one. `correlationId` defaults to the request id.
   */
  context: (correlationId?: string) => CommandContext;
}>;

// A client's id ends up in logs and event metadata: nothing that could break a line or a query.
const requestIdPattern = /^[\w.:-]{1,128}$/;

/** The client's request id when it is harmless, else a new one. */
export const requestIdFrom = (header: string | undefined): string =>
  header !== undefined && requestIdPattern.test(header) ? header : randomUUID();

/** Visible ASCII, so that a key is the same text wherever it is shown. */
const idempotencyKeyPattern = /^[\x21-\x7e]{1,255}$/;

export const idempotencyKeyFrom = (header: string | undefined): string | undefined => {
  if (header === undefined || idempotencyKeyPattern.test(header)) return header;
  throw new HttpProblem({
    status: 400,
    code: 'invalid-request',
    message: 'Invalid request: Idempotency-Key must be 1 to 255 visible ASCII characters',
  });
};

export type CommandOrigin = Readonly<{ actor: string; requestId: string; target: string; key: string | undefined }>;

/** `target` (method and path) is part of the command's id: clients reuse one key for two routes. */
export const commandContextOf =
  ({ actor, requestId, target, key }: CommandOrigin): RequestFacts['context'] =>
  (correlationId = requestId) => ({
    actor,
    correlationId,
    causationId: requestId,
    commandId: key === undefined ? randomUUID() : sha256Hex(actor, target, key),
  });

/** The parts cannot run into each other: each is closed by a byte that none of them holds. */
export const sha256Hex = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
};
