import assert from 'node:assert/strict';
import { type Decider, type DomainEvent, fold } from '#domain/decider.ts';
import { DomainError, type ErrorCode } from '#domain/errors.ts';

type Outcome<E> = Readonly<{
  /** Whole events, all of them, in order: a subset match would hide an extra field or event. */
  thenEvents(...expected: readonly E[]): void;
  thenNothing(): void;
  thenRefused(code: ErrorCode): DomainError;
}>;

/** Given facts, when a command, then facts or a refusal. The new facts are folded as well: `evolve` must take them. */
export const given = <S, C, E extends DomainEvent>(decider: Decider<S, C, E>, ...history: readonly E[]) => {
  const state = fold(decider, history);
  return {
    state,
    when: (command: C): Outcome<E> => {
      const run = (): readonly E[] => decider.decide(command, state);
      return {
        thenEvents: (...expected) => {
          const decided = run();
          assert.deepEqual(decided, expected);
          fold(decider, [...history, ...decided]);
        },
        thenNothing: () => assert.deepEqual(run(), []),
        thenRefused: (code) => {
          try {
            run();
          } catch (error) {
            assert.ok(error instanceof DomainError, `expected a refusal, got ${String(error)}`);
            assert.equal(error.code, code);
            return error;
          }
          return assert.fail(`expected to be refused with ${code}`);
        },
      };
    },
  };
};
