import { setImmediate } from 'node:timers/promises';

/** Lets the loop serve everybody else before the next page. */
export const nextTurn = (): Promise<void> => setImmediate();
