import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { execa } from 'execa';
import type { Call } from './hub-process.ts';
import type { ChangedExtent } from './lab-vm.ts';
import type { WireBackup } from './wire.ts';

export type ClientDisk = Readonly<{
  path: string;
  sizeBytes: number;
  /** The id of the snapshot's state. */
  changeId: string;
  /** What changed since the state that the hub holds. */
  changed: readonly ChangedExtent[];
  /** A path of its own for the list of extents. */
  extentFile: string;
}>;

const gib = 1024 ** 3;
const epochOf = (changeId: string): string => changeId.split('/')[0] ?? '';

type Known = Readonly<{ change_id: string; disk_id: string }>;

/**
 * The backup client that is in the field, as it really behaves: it copies one disk after another, says index 0 for each of
 * them, sends telemetry without disk entries whose numbers are the current disk's, ends each disk with zeros for
 * everything, never flushes, and leaves its first connection to an export open.
 */
export class OldClient {
  readonly #call: Call;
  readonly #backup: WireBackup;
  /** What the hub answered to the questions for change ids, in their order. */
  readonly asked: (Known | undefined)[] = [];

  constructor(call: Call, backup: WireBackup) {
    this.#call = call;
    this.#backup = backup;
  }

  async #lastChangeId(): Promise<string> {
    const path = `/backups/changeid?vm_name=${encodeURIComponent(this.#backup.vm_name)}&disk_id=0`;
    const { status, body } = await this.#call<Known>('GET', path);
    this.asked.push(status === 200 ? body : undefined);
    return status === 200 ? body.change_id : '';
  }

  async tell(message: object): Promise<void> {
    const body = {
      ...{ job_id: this.#backup.backup_id, job_type: 'backup', status: 'running', disks: [] },
      ...{ timestamp: new Date().toISOString(), ...message },
    };
    const { status } = await this.#call('POST', `/telemetry/backup/${this.#backup.backup_id}`, { body });
    assert.equal(status, 200);
  }

  /** Everything at once would be over before anybody looked: each part of a disk's copy is a step of its own. */
  async copy(index: number, disk: ClientDisk): Promise<'full' | 'incremental'> {
    await this.#lastChangeId();
    const known = await this.#lastChangeId();
    const target = new URL(this.#backup.nbd_targets_string?.split(',')[index]?.replace(/^\d+:/, '') ?? '');
    const idle = connect(Number(target.port), target.hostname);
    try {
      await once(idle, 'data');
      const kind = known !== '' && epochOf(known) === epochOf(disk.changeId) ? 'incremental' : 'full';
      await (kind === 'full' ? copyAll(disk, target.href) : copyChanges(disk, target.href));
      await this.#report(disk, kind);
      return kind;
    } finally {
      idle.destroy();
    }
  }

  async #report(disk: ClientDisk, kind: 'full' | 'incremental'): Promise<void> {
    const total = Math.floor(disk.sizeBytes / gib) * gib;
    const moved = kind === 'full' ? disk.sizeBytes : disk.changed.reduce((sum, { length }) => sum + length, 0);
    const numbers = { total_bytes: total, transfer_speed_bps: 1_000_000, eta_seconds: -1 };
    await this.tell({ current_phase: 'transferring', bytes_transferred: moved / 2, progress_percent: 50, ...numbers });
    await this.tell({ current_phase: 'completed', bytes_transferred: moved, progress_percent: 104, ...numbers });
  }

  /** The last word on a disk. */
  async end(): Promise<void> {
    const zeros = { bytes_transferred: 0, total_bytes: 0, transfer_speed_bps: 0, eta_seconds: 0, progress_percent: 0 };
    await this.tell({ status: 'completed', current_phase: 'completed', ...zeros });
  }

  async complete({ changeId }: Pick<ClientDisk, 'changeId'>): Promise<void> {
    const body = { change_id: changeId, disk_id: 0, bytes_transferred: 0 };
    const reply = await this.#call('POST', `/backups/${this.#backup.backup_id}/complete`, { body });
    // Anything but 200 makes it give up.
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
  }

  async backUp(disks: readonly ClientDisk[]): Promise<void> {
    for (const [index, disk] of disks.entries()) {
      await this.copy(index, disk);
      await this.end();
      await this.complete(disk);
    }
  }
}

const copyAll = async ({ path }: ClientDisk, target: string): Promise<void> => {
  await execa('nbdcopy', ['--destination-is-zero', '--', path, target]);
};

const copyChanges = async ({ path, changed, extentFile }: ClientDisk, target: string): Promise<void> => {
  if (changed.length === 0) return;
  await writeFile(extentFile, changed.map(({ offset, length }) => `${offset} ${length}\n`).join(''));
  const source = [
    'nbdkit',
    '-r',
    '--exit-with-parent',
    '--filter=extentlist',
    'file',
    path,
    `extentlist=${extentFile}`,
  ];
  await execa('nbdcopy', ['-S', '0', '--destination-is-zero', '--', '[', ...source, ']', target]);
};
