const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Somebody wants the demo to end. */
export class Interrupted extends Error {
  readonly exitCode: number;
  constructor(name: keyof typeof exitCodes) {
    super(`interrupted by ${name}`);
    this.name = 'Interrupted';
    this.exitCode = exitCodes[name];
  }
}

/** Until it is closed, also a second Ctrl-C leaves the cleaning up alone. */
export const listenForSignals = (stop: AbortController): Readonly<{ close: () => void }> => {
  const listeners = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((name) => {
    const listener = () => stop.abort(new Interrupted(name));
    process.on(name, listener);
    return { name, listener };
  });
  return {
    close: () => {
      for (const { name, listener } of listeners) process.off(name, listener);
    },
  };
};
