import { type Metadata, status } from '@grpc/grpc-js';
import type { EventReader } from '../event-reader.ts';
import { RpcError } from '../grpc/rpc-error.ts';
import type { Authoriser } from './authoriser.ts';
import { StreamAccess } from './stream-access.ts';
import { TooManySignIns, type Users } from './users.ts';

type Credentials = Readonly<{ name: string; password: string }>;

const wrongCredentials = (): RpcError => new RpcError(status.UNAUTHENTICATED, 'Wrong user name or password.');

/** RFC 7617: a name has no colon, a password may. */
const parseBasic = (header: string): Credentials => {
  const [, encoded] = /^Basic ([A-Za-z0-9+/]+={0,2})$/i.exec(header) ?? [];
  const [, name, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded ?? '', 'base64').toString('utf8')) ?? [];
  if (name === undefined || password === undefined) throw wrongCredentials();
  return { name, password };
};

/** None: the caller is anonymous. */
const readCredentials = (metadata: Metadata): Credentials | undefined => {
  const headers = metadata.get('authorization');
  if (headers.length === 0) return undefined;
  const [only, ...others] = headers;
  if (only === undefined || others.length > 0) throw wrongCredentials();
  return parseBasic(String(only));
};

/** For a server with users: names and passwords of each call against the users file, access lists of the streams. */
export const basicAuthentication = (users: Users, reader: EventReader): Authoriser => {
  const access = new StreamAccess(reader);
  const anonymous = access.callerFor(undefined);
  return {
    identify: async (metadata) => {
      const credentials = readCredentials(metadata);
      if (!credentials) return anonymous;
      try {
        const identity = await users.signIn(credentials.name, credentials.password);
        if (!identity) throw wrongCredentials();
        return access.callerFor(identity);
      } catch (error) {
        throw error instanceof TooManySignIns ? new RpcError(status.UNAVAILABLE, error.message) : error;
      }
    },
  };
};
