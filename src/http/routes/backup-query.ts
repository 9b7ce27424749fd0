import { z } from 'zod';

/** An empty query value is what a form sends for "any". */
export const filter = z
  .string()
  .optional()
  .transform((value) => (value === '' ? undefined : value));

/** An index as a query parameter; 0 when it is not given. */
export const diskIndex = z
  .string()
  .regex(/^\d{1,6}$/, 'must be a disk index: 0, 1, …')
  .optional()
  .transform((value) => Number(value ?? 0));
