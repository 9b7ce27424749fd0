import type { RestoreTarget } from './events.ts';

/** The same for two targets that would write to the same place. */
export const placeOf = (target: RestoreTarget): string =>
  target.type === 'image' ? `image ${target.path}` : `nbd ${target.uri}`;

/** As a person would name it. */
export const nameOfTarget = (target: RestoreTarget): string => (target.type === 'image' ? target.path : target.uri);
