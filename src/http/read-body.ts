import express, { type Request, type Response } from 'express';
import { HttpProblem } from './errors.ts';

/**
 * The whole body as bytes, whatever its content type says: half of the clients send none, and a form's type for JSON.
 * Compressed bodies count by their unpacked size.
 */
export const readBody = async (request: Request, response: Response, maxBytes: number): Promise<Uint8Array> => {
  const read = express.raw({ type: () => true, limit: maxBytes });
  await new Promise<void>((resolve, reject) => {
    read(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(refusal(error, maxBytes))));
  });
  const body: unknown = request.body;
  return body instanceof Uint8Array ? body : new Uint8Array();
};

const refusal = (error: unknown, maxBytes: number): HttpProblem => {
  const type = error instanceof Error && 'type' in error ? error.type : '';
  if (type === 'entity.too.large')
    return problem(413, 'body-too-large', `The body is larger than ${maxBytes} bytes`, error);
  if (type === 'encoding.unsupported')
    return problem(415, 'encoding-unsupported', 'The body has a Content-Encoding that is not supported', error);
  return problem(400, 'invalid-request', 'Invalid request: the body could not be read', error);
};

/** No body at all is the empty object: clients leave it out when every field is optional. */
export const parseJson = (bytes: Uint8Array): unknown => {
  if (bytes.length === 0) return {};
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw problem(400, 'invalid-request', 'Invalid request: the body is not JSON', cause);
  }
};

const problem = (status: number, code: string, message: string, cause: unknown): HttpProblem =>
  new HttpProblem({ status, code, message }, { cause });
