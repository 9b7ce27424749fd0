import { describe, test } from 'node:test';
import { type DefaultCredentialEvent, defaultCredentialDecider } from '#domain/vmware-credential/default-credential.ts';
import { given } from '../../support/given.ts';

const at = '2026-01-02T03:04:05.000Z';
const chosen = (credentialId: number): DefaultCredentialEvent => ({
  type: 'DefaultCredentialChosen',
  data: { credentialId, at },
});

describe('the default credential', () => {
  test('is the one that was chosen last', () =>
    given(defaultCredentialDecider, chosen(1))
      .when({ type: 'ChooseDefault', data: { credentialId: 2, at } })
      .thenEvents(chosen(2)));

  test('is chosen once', () =>
    given(defaultCredentialDecider, chosen(2))
      .when({ type: 'ChooseDefault', data: { credentialId: 2, at } })
      .thenNothing());

  test('is none after it was deleted, and stays when another one was', () => {
    const clear = (credentialId: number) => ({ type: 'ClearDefault', data: { credentialId, at } }) as const;
    given(defaultCredentialDecider, chosen(2))
      .when(clear(2))
      .thenEvents({ type: 'DefaultCredentialCleared', data: { credentialId: 2, at } });
    given(defaultCredentialDecider, chosen(2)).when(clear(1)).thenNothing();
  });
});
