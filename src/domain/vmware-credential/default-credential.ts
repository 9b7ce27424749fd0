import type { Decider } from '../decider.ts';
import type { Versions } from '../event-versions.ts';

/** Which credential is the default: one stream, so that there is never more than one. */
export type DefaultCredentialEvent =
  | Readonly<{ type: 'DefaultCredentialChosen'; data: Readonly<{ credentialId: number; at: string }> }>
  | Readonly<{ type: 'DefaultCredentialCleared'; data: Readonly<{ credentialId: number; at: string }> }>;

export type DefaultCredentialState = Readonly<{ credentialId: number | null }>;

export type DefaultCredentialCommand =
  | Readonly<{ type: 'ChooseDefault'; data: Readonly<{ credentialId: number; at: string }> }>
  /** Content when another one is the default. */
  | Readonly<{ type: 'ClearDefault'; data: Readonly<{ credentialId: number; at: string }> }>;

const decide = (
  { type, data }: DefaultCredentialCommand,
  state: DefaultCredentialState,
): readonly DefaultCredentialEvent[] => {
  const isDefault = state.credentialId === data.credentialId;
  switch (type) {
    case 'ChooseDefault':
      return isDefault ? [] : [{ type: 'DefaultCredentialChosen', data }];
    case 'ClearDefault':
      return isDefault ? [{ type: 'DefaultCredentialCleared', data }] : [];
  }
};

const evolve = (_state: DefaultCredentialState, { type, data }: DefaultCredentialEvent): DefaultCredentialState => ({
  credentialId: type === 'DefaultCredentialChosen' ? data.credentialId : null,
});

export const defaultCredentialDecider: Decider<
  DefaultCredentialState,
  DefaultCredentialCommand,
  DefaultCredentialEvent
> = {
  initialState: { credentialId: null },
  decide,
  evolve,
  isWholeState: () => true,
};

export const defaultCredentialEventVersions: Versions<DefaultCredentialEvent> = {
  DefaultCredentialChosen: 1,
  DefaultCredentialCleared: 1,
};
