import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { claimName } from '#commands/claim-name.ts';
import { createCreateVmwareCredential } from '#commands/create-vmware-credential.ts';
import { createCredentialLogins } from '#commands/credential-login.ts';
import { createForgetReplacedPasswords } from '#commands/credential-secrets.ts';
import { streamOf } from '#domain/streams.ts';
import { createCredentialVault } from '#infra/vault/credential-vault.ts';
import { createSecretVault } from '#infra/vault/secret-vault.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import { createVmsClient, login, password } from './vms-client.ts';
import { startVmsHub, type VmsHub } from './vms-hub.ts';

describe('passwords of vCenter credentials', () => {
  let hub: VmsHub;
  const { call, created, refused } = createVmsClient(() => hub);

  before(async () => {
    hub = await startVmsHub();
  });
  after(() => hub.close());

  test('cannot be stored or used without the key, and nothing is left of the attempt', async () => {
    const id = await created('keyless');
    const { call: keyless, close } = await hub.withKey(undefined);
    try {
      refused(await keyless('POST /vmware-credentials', login('no key')), 503, 'secret-key-missing');
      refused(await keyless(`PUT /vmware-credentials/${id}`, { password: 'new' }), 503, 'secret-key-missing');
      refused(await keyless(`POST /vmware-credentials/${id}/test`), 503, 'secret-key-missing');
      assert.equal((await keyless(`PUT /vmware-credentials/${id}`, { username: 'other' })).status, 200);
      assert.equal((await keyless(`GET /vmware-credentials/${id}`)).body.username, 'other');
    } finally {
      await close();
    }
    assert.equal((await call('POST /vmware-credentials', login('no key'))).status, 200, 'the name is free');
  });

  test('cannot be read with another key, which is told, and heal with a new password', async () => {
    const id = await created('other key');
    const other = await hub.withKey(randomBytes(32));
    try {
      refused(await other.call(`POST /vmware-credentials/${id}/test`), 422, 'credential-unusable');
      await other.call(`PUT /vmware-credentials/${id}`, { password });
      assert.equal((await other.call(`POST /vmware-credentials/${id}/test`)).status, 200);
    } finally {
      await other.close();
    }
  });

  test('are handed to backups, each time counted, with a bounded number of events', async () => {
    const id = await created('busy');
    const { store, database } = hub.stores;
    const clock = { now: () => new Date().toISOString() };
    const vaultWith = (key: Buffer | undefined) =>
      createCredentialVault(
        createCredentialLogins({ store, clock, vault: createSecretVault({ db: database.vault, key }) }),
      );
    const { loginOf } = vaultWith(hub.key);
    const logins = await Promise.all(Array.from({ length: 53 }, () => loginOf(id)));
    for (const given of logins) {
      assert.deepEqual(given, {
        ...{ vcenterHost: 'vc.example', username: 'backup', password },
      });
    }
    const { events } = await store.read(streamOf.credentialUsage(id));
    assert.equal(events.length, 50);
    assert.deepEqual(
      { ...events.at(-1)?.event.data, at: '' },
      { ...{ credentialId: id, purpose: 'backup', usageCount: 53, at: '' } },
    );
    assert.equal((await store.read(streamOf.vmwareCredential(id))).events.length, 1);

    for (const key of [undefined, randomBytes(32)]) await assert.rejects(vaultWith(key).loginOf(id), PermanentFailure);
    await call(`PUT /vmware-credentials/${id}`, { is_active: false });
    await assert.rejects(loginOf(id), PermanentFailure);
    await call(`DELETE /vmware-credentials/${id}`);
    await assert.rejects(loginOf(id), { code: 'credential-not-found' });
  });

  test('leave no replaced password behind when a hub dies in between', async () => {
    const id = await created('interrupted');
    const { store, database } = hub.stores;
    const vault = createSecretVault({ db: database.vault, key: randomBytes(32) });
    const references = async () => (await vault.list(`vmwareCredential-${id}-`)).map(({ reference }) => reference);
    const [current = ''] = await references();
    await vault.keep(`vmwareCredential-${id}-left-behind`, 'x');
    await vault.keep('vmwareCredential-4711-of-another-log', 'x');
    await vault.keep('cloudstack-1-x', 'x');
    const inHours = (hours: number) => ({ now: () => new Date(Date.now() + hours * 3_600_000).toISOString() });
    assert.equal(await createForgetReplacedPasswords({ store, vault, clock: inHours(0) })(), 0, 'it may be needed yet');
    await createForgetReplacedPasswords({ store, vault, clock: inHours(2) })();
    assert.deepEqual(await references(), [current]);
    const others = (await vault.list('')).map(({ reference }) => reference);
    assert.ok(others.includes('vmwareCredential-4711-of-another-log') && others.includes('cloudstack-1-x'));
  });

  test('never get a used number, however old the read model, and names that a dead hub claimed come free', async () => {
    const { store, database } = hub.stores;
    const context = (commandId: string) => ({ actor: 'test', correlationId: commandId, commandId });
    const input = (name: string) => ({
      ...{ name, vcenterHost: 'vc', username: 'u', password: 'p', datacenter: 'D', isActive: true, isDefault: false },
    });
    const createAfter = (ms: number) =>
      createCreateVmwareCredential({
        ...{ store, vault: createSecretVault({ db: database.vault, key: hub.key }), ids: { uuid: () => randomUUID() } },
        clock: { now: () => new Date(Date.now() + ms).toISOString() },
        lookups: { highestId: async () => 0 },
      });
    const newest = await created('newest');
    const claim = { kind: 'credentialName', name: 'claimed', holder: '4711', holderLives: async () => true } as const;
    await claimName({ store, clock: { now: () => new Date().toISOString() } }, claim, context('dead hub'));
    await assert.rejects(createAfter(0)(input('claimed'), context('at once'), undefined), { code: 'name-taken' });
    const { credentialId } = await createAfter(60_000)(input('claimed'), context('later'), undefined);
    assert.equal(credentialId, newest + 1);
  });
});
