// https://www.sqlite.org/rescode.html: the low byte is the primary code.
const sqliteBusy = 5;
const sqliteFull = 13;
// ERROR (a schema that does not parse), IOERR, CORRUPT, NOTFOUND, CANTOPEN, TOOBIG, CONSTRAINT, MISMATCH, FORMAT, RANGE, NOTADB:
// the statements are ours and tested, so what they fail on is what they found.
const damageReports: ReadonlySet<number> = new Set([1, 10, 11, 12, 14, 18, 19, 20, 24, 25, 26]);

const primaryCodeOf = (error: unknown): number | undefined => {
  const isSqlite = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
  return isSqlite ? Number(error.errcode) & 0xff : undefined;
};

export const isDiskFull = (error: unknown): boolean => primaryCodeOf(error) === sqliteFull;
export const isLockedByAnother = (error: unknown): boolean => primaryCodeOf(error) === sqliteBusy;

/** While reading. A write may fail with some of these for other reasons. */
export const isDamageReport = (error: unknown): boolean => damageReports.has(primaryCodeOf(error) ?? 0);

/** While writing what was checked against the heads: CORRUPT, CONSTRAINT, MISMATCH, NOTADB. */
export const isWriteRefusal = (error: unknown): boolean => [11, 19, 20, 26].includes(primaryCodeOf(error) ?? 0);
