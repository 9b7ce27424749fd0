import { z } from 'zod';

/** What ends up in names, ids and tables: no control characters (a NUL cannot be stored at all). */
const control = /[\p{Cc}\p{Cs}]/u;

export const plainText = (maxLength = 255) =>
  z
    .string()
    .max(maxLength)
    .refine((text) => !control.test(text), 'must not hold control characters');

/** The same, not empty; blanks around it are nobody's intention. */
export const requiredText = (maxLength = 255) =>
  plainText(maxLength)
    .transform((text) => text.trim())
    .pipe(z.string().min(1, 'must not be empty'));
