import assert from 'node:assert/strict';
import { eventually } from './eventually.ts';
import { type Call, readHealth } from './hub-process.ts';
import type { MadeVm } from './lab-vm.ts';
import type { Program } from './program.ts';
import type { WireBackup, WireJobEvent } from './wire.ts';

/** What tests ask a hub for; each fails when the hub refuses. */
export abstract class BackupApi {
  abstract readonly call: Call;
  abstract readonly hub: Program;
  /** What backups are of and go to unless a request says otherwise. */
  abstract readonly vm: MadeVm;
  abstract readonly repositoryId: string;

  async addRepository(name: string, path: string): Promise<string> {
    const body = { name, type: 'local', config: { path } };
    const reply = await this.call<{ repository: { id: string } }>('POST', '/repositories', { body });
    assert.equal(reply.status, 201, JSON.stringify(reply.body));
    return reply.body.repository.id;
  }

  async addVms(names: readonly string[], credentialId = 1): Promise<void> {
    const body = { credential_id: credentialId, vm_names: names };
    const reply = await this.call<{ vms_added: number }>('POST', '/discovery/add-vms', { body });
    assert.equal(reply.body.vms_added, names.length, JSON.stringify(reply.body));
  }

  request(type: 'full' | 'incremental', more: object = {}) {
    return { vm_name: this.vm.name, repository_id: this.repositoryId, backup_type: type, ...more };
  }

  async start(type: 'full' | 'incremental', more: object = {}): Promise<WireBackup> {
    const reply = await this.call<WireBackup>('POST', '/backups', { body: this.request(type, more) });
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
    return reply.body;
  }

  async show(backupId: string): Promise<WireBackup> {
    const reply = await this.call<WireBackup>('GET', `/backups/${backupId}`);
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
    return reply.body;
  }

  async list(query = ''): Promise<readonly WireBackup[]> {
    const reply = await this.call<{ backups: readonly WireBackup[] }>('GET', `/backups${query}`);
    return reply.body.backups;
  }

  async events(backupId: string): Promise<readonly WireJobEvent[]> {
    const reply = await this.call<{ events: readonly WireJobEvent[] }>('GET', `/jobs/${backupId}/events`);
    return reply.body.events;
  }

  /** As it is when it has ended and everything that it had used is freed. */
  async ended(backupId: string, timeoutMs = 60_000): Promise<WireBackup> {
    await eventually(
      `${backupId} is closed`,
      async () => (await this.events(backupId)).some(({ type }) => type === 'BackupClosed'),
      timeoutMs,
    );
    await eventually('the tables show it', () => this.#isCaughtUp());
    return this.show(backupId);
  }

  async #isCaughtUp(): Promise<boolean> {
    const { projections } = await readHealth(this.hub.url);
    return projections.every(({ lag_events: lag }) => lag === 0);
  }

  /** A backup that completes. */
  async backUp(type: 'full' | 'incremental', more: object = {}): Promise<WireBackup> {
    const { backup_id } = await this.start(type, more);
    const backup = await this.ended(backup_id);
    assert.equal(backup.status, 'completed', backup.error_message ?? '');
    return backup;
  }
}
