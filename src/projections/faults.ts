/** A handler threw while it built its statements: the event is not what it expects. */
export class HandlerFault extends Error {
  constructor(type: string, cause: unknown) {
    super(`the handler of ${type} threw: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'HandlerFault';
  }
}

/**
 * PostgreSQL's classes of errors that a statement itself is to blame for: cardinality, data, constraints, syntax and access
 * rules, check option, limits, raised by a function. All others (connection, deadlock, resources, shutdown, disk) pass.
 */
const statementFaults = new Set(['21', '22', '23', '42', '44', '54', 'P0']);

/** In class 42 and yet nobody's event: the table or the schema is gone, or may not be used. */
const lostTables = new Set(['42P01', '42501', '42602']);

const sqlState = (error: unknown): string | undefined => {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return /^[0-9A-Z]{5}$/.test(error.code) ? error.code : undefined;
};

/** Whether the same event would fail again, however often it is tried. */
export const isEventsFault = (error: unknown): boolean => {
  if (error instanceof HandlerFault) return true;
  const state = sqlState(error);
  return state !== undefined && statementFaults.has(state.slice(0, 2)) && !lostTables.has(state);
};

/** For the operator: what went wrong, without the row's values that PostgreSQL tells as detail. */
export const faultText = (error: unknown): string => {
  const state = sqlState(error);
  const text = error instanceof Error ? error.message : String(error);
  return state === undefined ? text : `${text} (SQLSTATE ${state})`;
};
