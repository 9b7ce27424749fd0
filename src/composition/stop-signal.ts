const names = ['SIGINT', 'SIGTERM'] as const;

/**
 * Resolves with the first SIGINT or SIGTERM; one more ends the program at once. The listeners stay: execa's own clean-up
 * kills the program when it finds no listener but its own at the moment of the signal, which a `once` would bring about.
 */
export const stopSignal = (): Promise<string> => {
  const { promise, resolve } = Promise.withResolvers<string>();
  let stopping = false;
  for (const name of names) {
    process.on(name, () => {
      if (stopping) process.exit(130);
      stopping = true;
      resolve(name);
    });
  }
  return promise;
};
