import type { GroupId } from './group-config.ts';

export type GroupRefusal = 'missing' | 'exists' | 'full' | 'dropped' | 'failed';

/** Why something cannot be done with a group. `reason` says more if it failed. */
export class GroupRefused extends Error {
  override readonly name = 'GroupRefused';
  readonly kind: GroupRefusal;
  readonly id: GroupId;
  readonly reason: string;

  constructor(kind: GroupRefusal, id: GroupId, reason = '') {
    super(`${id.groupName} on ${id.eventSource}: ${reason === '' ? kind : reason}`);
    this.kind = kind;
    this.id = id;
    this.reason = reason;
  }
}
