import { EventStoreDBClient } from '@eventstore/db-client';
import { ConfigError } from '../config.ts';

const setting = 'SENDENSE_EVENTSTORE';
const form = 'esdb://USER:PASSWORD@HOST:PORT?tls=true&tlsCAFile=PATH';

// The client's options, in lower case: it takes them in any.
const options: ReadonlySet<string> = new Set([
  'connectionname',
  'defaultdeadline',
  'discoveryinterval',
  'dnsdiscover',
  'gossiptimeout',
  'keepaliveinterval',
  'keepalivetimeout',
  'maxdiscoverattempts',
  'nodepreference',
  'throwonappendfailure',
  'tls',
  'tlscafile',
  'tlsverifycert',
  'usercertfile',
  'userkeyfile',
]);

/** The client would print the whole string, password and all, to say that it does not know an option. */
const refuseUnknown = (connectionString: string): void => {
  const [, query = ''] = /^[^?]*\?(.*)$/s.exec(connectionString) ?? [];
  for (const pair of query.split('&').filter((text) => text !== '')) {
    const [key = '', value] = pair.split('=');
    if (!options.has(key.toLowerCase())) {
      throw new ConfigError([`${setting} has an option that there is not; there are ${[...options].join(', ')}.`]);
    }
    if (key.toLowerCase() === 'tlsverifycert' && value !== 'true') {
      throw new ConfigError([
        `${setting}: tlsVerifyCert=false is not supported, name the authority with tlsCAFile=PATH.`,
      ]);
    }
  }
};

/** Connects at the first call. Throws `ConfigError`, which does not repeat the string: it may hold a password. */
export const connectEventStore = (connectionString: string): EventStoreDBClient => {
  refuseUnknown(connectionString);
  try {
    return EventStoreDBClient.connectionString([connectionString] as unknown as TemplateStringsArray);
  } catch (error) {
    if (error instanceof Error && 'connectionString' in error) {
      throw new ConfigError([
        `${setting} must be ${form}, with %XX for special characters in names, passwords and paths.`,
      ]);
    }
    throw error;
  }
};
