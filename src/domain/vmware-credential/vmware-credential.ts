import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';

/** A login to a vCenter. Its password is in the vault, under `secretRef`; no event knows it. */
export type CredentialDetails = Readonly<{
  name: string;
  vcenterHost: string;
  username: string;
  datacenter: string;
}>;

type OfCredential = Readonly<{ credentialId: number; at: string }>;

export type VmwareCredentialEvent =
  | Readonly<{
      type: 'VmwareCredentialCreated';
      data: OfCredential & CredentialDetails & Readonly<{ isActive: boolean; secretRef: string; createdBy: string }>;
    }>
  | Readonly<{ type: 'VmwareCredentialDetailsChanged'; data: OfCredential & CredentialDetails }>
  | Readonly<{ type: 'VmwareCredentialPasswordChanged'; data: OfCredential & Readonly<{ secretRef: string }> }>
  | Readonly<{ type: 'VmwareCredentialActivated'; data: OfCredential }>
  | Readonly<{ type: 'VmwareCredentialDeactivated'; data: OfCredential }>
  | Readonly<{ type: 'VmwareCredentialDeleted'; data: OfCredential }>;

export type KnownCredential = CredentialDetails &
  Readonly<{ status: 'known'; credentialId: number; isActive: boolean; secretRef: string }>;

export type VmwareCredentialState = Readonly<{ status: 'none' }> | Readonly<{ status: 'deleted' }> | KnownCredential;

export type VmwareCredentialCommand =
  | Readonly<{
      type: 'CreateCredential';
      data: Extract<VmwareCredentialEvent, { type: 'VmwareCredentialCreated' }>['data'];
    }>
  | Readonly<{
      type: 'ChangeCredential';
      /** What is left out stays as it is. */
      data: OfCredential & Partial<CredentialDetails> & Readonly<{ isActive?: boolean; secretRef?: string }>;
    }>
  | Readonly<{
      type: 'DeleteCredential';
      data: OfCredential & Readonly<{ vmsUsingIt: number; otherActiveCredentials: number }>;
    }>;

type Change = Extract<VmwareCredentialCommand, { type: 'ChangeCredential' }>['data'];
type Delete = Extract<VmwareCredentialCommand, { type: 'DeleteCredential' }>['data'];

export const noSuchCredential = (credentialId: number): DomainError =>
  new DomainError('credential-not-found', `there is no vCenter credential ${credentialId}`, { credentialId });

const detailsOf = ({ name, vcenterHost, username, datacenter }: CredentialDetails): CredentialDetails => ({
  ...{ name, vcenterHost, username, datacenter },
});

const same = (a: CredentialDetails, b: CredentialDetails): boolean =>
  a.name === b.name && a.vcenterHost === b.vcenterHost && a.username === b.username && a.datacenter === b.datacenter;

const change = (data: Change, state: VmwareCredentialState): readonly VmwareCredentialEvent[] => {
  const { credentialId, at, isActive = undefined, secretRef = undefined, ...given } = data;
  if (state.status !== 'known') throw noSuchCredential(credentialId);
  const wanted = detailsOf({ ...state, ...given });
  const decided: VmwareCredentialEvent[] = [];
  if (!same(wanted, state)) {
    decided.push({ type: 'VmwareCredentialDetailsChanged', data: { credentialId, ...wanted, at } });
  }
  if (secretRef !== undefined && secretRef !== state.secretRef) {
    decided.push({ type: 'VmwareCredentialPasswordChanged', data: { credentialId, secretRef, at } });
  }
  if (isActive !== undefined && isActive !== state.isActive) {
    const type = isActive ? 'VmwareCredentialActivated' : 'VmwareCredentialDeactivated';
    decided.push({ type, data: { credentialId, at } });
  }
  return decided;
};

const remove = (data: Delete, state: VmwareCredentialState): readonly VmwareCredentialEvent[] => {
  const { credentialId, at, vmsUsingIt, otherActiveCredentials } = data;
  if (state.status !== 'known') throw noSuchCredential(credentialId);
  if (vmsUsingIt > 0) {
    const vms = vmsUsingIt === 1 ? '1 virtual machine uses' : `${vmsUsingIt} virtual machines use`;
    throw new DomainError('credential-in-use', `${vms} credential "${state.name}"; it cannot be deleted`, {
      vmContexts: vmsUsingIt,
    });
  }
  if (state.isActive && otherActiveCredentials === 0) {
    throw new DomainError(
      'credential-last-active',
      `"${state.name}" is the last active credential; add or activate another one first`,
    );
  }
  return [{ type: 'VmwareCredentialDeleted', data: { credentialId, at } }];
};

const decide = (command: VmwareCredentialCommand, state: VmwareCredentialState): readonly VmwareCredentialEvent[] => {
  switch (command.type) {
    case 'CreateCredential':
      // Its number was claimed for this very request: whoever finds it created already repeats himself.
      return state.status === 'none' ? [{ type: 'VmwareCredentialCreated', data: command.data }] : [];
    case 'ChangeCredential':
      return change(command.data, state);
    case 'DeleteCredential':
      return remove(command.data, state);
  }
};

const evolve = (state: VmwareCredentialState, event: VmwareCredentialEvent): VmwareCredentialState => {
  if (event.type === 'VmwareCredentialCreated') {
    const { credentialId, isActive, secretRef } = event.data;
    return { status: 'known', credentialId, ...detailsOf(event.data), isActive, secretRef };
  }
  if (state.status !== 'known') return state;
  switch (event.type) {
    case 'VmwareCredentialDetailsChanged':
      return { ...state, ...detailsOf(event.data) };
    case 'VmwareCredentialPasswordChanged':
      return { ...state, secretRef: event.data.secretRef };
    case 'VmwareCredentialActivated':
      return { ...state, isActive: true };
    case 'VmwareCredentialDeactivated':
      return { ...state, isActive: false };
    case 'VmwareCredentialDeleted':
      return { status: 'deleted' };
  }
};

/** One saved vCenter login. */
export const vmwareCredentialDecider: Decider<VmwareCredentialState, VmwareCredentialCommand, VmwareCredentialEvent> = {
  initialState: { status: 'none' },
  decide,
  evolve,
};

export const vmwareCredentialEventVersions: Versions<VmwareCredentialEvent> = {
  VmwareCredentialCreated: 1,
  VmwareCredentialDetailsChanged: 1,
  VmwareCredentialPasswordChanged: 1,
  VmwareCredentialActivated: 1,
  VmwareCredentialDeactivated: 1,
  VmwareCredentialDeleted: 1,
};
