import { randomUUID } from 'node:crypto';
import { DomainError } from '#domain/errors.ts';
import type { Difference } from '#projections/equality.ts';
import type { AnyProjection } from '#projections/projection.ts';
import { type BuildDeps, checkEquality, startRebuild } from '#projections/rebuild.ts';
import { cancelRebuild, type RebuildProgress, readRebuild } from '#projections/rebuild-record.ts';

export interface Rebuilds {
  /** `all` or one name. Returns once it runs. Throws `projection-not-found`, `rebuild-running`. */
  start(name: string, requestedBy: string): Promise<RebuildProgress>;
  /** The newest one, of whichever hub; undefined before the first. */
  progress(): Promise<RebuildProgress | undefined>;
  /** Throws `rebuild-not-running`. */
  cancel(): Promise<void>;
  /** Takes about as long as a rebuild. Throws as `start` does. */
  check(name: string, signal: AbortSignal): Promise<readonly Difference[]>;
  /** What runs here has ended, which the hub's stop brings about. */
  settled(): Promise<void>;
}

const named = (projections: readonly AnyProjection[], name: string): readonly AnyProjection[] => {
  if (name === 'all') return projections;
  const found = projections.filter((projection) => projection.name === name);
  if (found.length > 0) return found;
  const names = projections.map((projection) => projection.name);
  throw new DomainError(
    'projection-not-found',
    `there is no read model "${name}"; name one of ${names.join(', ')}, or "all"`,
    { projection: name },
  );
};

export const createRebuilds = (
  deps: BuildDeps & Readonly<{ projections: readonly AnyProjection[] }>,
  signal: AbortSignal,
): Rebuilds => {
  const running = new Set<Promise<unknown>>();
  const watch = <T>(work: Promise<T>): Promise<T> => {
    const settled: Promise<unknown> = work.catch(() => undefined).finally(() => running.delete(settled));
    running.add(settled);
    return work;
  };
  const progress = () => readRebuild(deps.db);
  return {
    start: async (name, requestedBy) => {
      const request = { id: randomUUID(), projections: named(deps.projections, name), requestedBy };
      const rebuild = startRebuild(deps, request, signal);
      void watch(rebuild.done);
      await rebuild.begun;
      const begun = await progress();
      if (!begun) throw new Error('the rebuild has no record');
      return begun;
    },
    progress,
    cancel: () => cancelRebuild(deps.db),
    check: (name, caller) =>
      watch(checkEquality(deps, named(deps.projections, name), AbortSignal.any([signal, caller]))),
    settled: async () => {
      await Promise.all(running);
    },
  };
};
