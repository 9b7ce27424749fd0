type Settled<T> = Readonly<{ ok: true; value: T } | { ok: false; error: unknown }>;

type Options<T> = Readonly<{
  /** How many are under way at once; the reader's pace bounds it too. */
  atOnce: number;
  /** For results that nobody takes any more, because the reader has left or another one failed. */
  dispose?: (value: T) => Promise<void> | void;
}>;

/** Works on several items side by side and yields the results in the order of the items. */
export const inOrder = async function* <I, T>(
  items: AsyncIterable<I> | Iterable<I>,
  work: (item: I) => Promise<T>,
  { atOnce, dispose }: Options<T>,
): AsyncGenerator<T> {
  const underWay: Promise<Settled<T>>[] = [];
  try {
    for await (const item of items) {
      underWay.push(
        work(item).then(
          (value) => ({ ok: true, value }),
          (error: unknown) => ({ ok: false, error }),
        ),
      );
      if (underWay.length >= atOnce) yield await next(underWay);
    }
    while (underWay.length > 0) yield await next(underWay);
  } finally {
    // Nothing is left running: it may use what the reader closes next.
    for (const settled of await Promise.all(underWay)) if (settled.ok) await dispose?.(settled.value);
  }
};

const next = async <T>(underWay: Promise<Settled<T>>[]): Promise<T> => {
  const settled = await underWay.shift();
  if (settled?.ok) return settled.value;
  throw settled?.error;
};
