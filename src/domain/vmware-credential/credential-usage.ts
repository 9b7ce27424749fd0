import type { Decider } from '../decider.ts';
import type { Versions } from '../event-versions.ts';

export type CredentialPurpose = 'discovery' | 'test' | 'backup';

/**
 * A credential is used with every backup: its usage has a stream of its own of which only the newest events are kept, so
 * each tells the total.
 */
export type CredentialUsageEvent = Readonly<{
  type: 'VmwareCredentialUsed';
  data: Readonly<{ credentialId: number; purpose: CredentialPurpose; usageCount: number; at: string }>;
}>;

export type CredentialUsageState = Readonly<{ usageCount: number }>;

export type NoteUse = Readonly<{
  type: 'NoteUse';
  data: Readonly<{ credentialId: number; purpose: CredentialPurpose; at: string }>;
}>;

const decide = ({ data }: NoteUse, { usageCount }: CredentialUsageState): readonly CredentialUsageEvent[] => [
  { type: 'VmwareCredentialUsed', data: { ...data, usageCount: usageCount + 1 } },
];

const evolve = (_state: CredentialUsageState, { data }: CredentialUsageEvent): CredentialUsageState => ({
  usageCount: data.usageCount,
});

export const credentialUsageDecider: Decider<CredentialUsageState, NoteUse, CredentialUsageEvent> = {
  initialState: { usageCount: 0 },
  decide,
  evolve,
  isWholeState: () => true,
};

export const credentialUsageEventVersions: Versions<CredentialUsageEvent> = { VmwareCredentialUsed: 1 };

/** What the stream keeps: enough to see who used it lately. */
export const keptUsageEvents = 50;
