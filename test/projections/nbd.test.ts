import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { NbdExportEvent } from '#domain/nbd-export/nbd-export.ts';
import type { NbdPortsEvent } from '#domain/nbd-ports/nbd-ports.ts';
import { nbdProjection, nbdQueries } from '#projections/nbd.ts';
import { at, backupId, facts, imagePath } from '../support/backup-facts.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { createTeller } from '../support/projected.ts';

let postgres: TestPostgres;
let tell: ReturnType<typeof createTeller>;
let queries: ReturnType<typeof nbdQueries>;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
beforeEach(async () => {
  const { readModel } = await postgres.fresh();
  tell = createTeller(readModel, nbdProjection);
  queries = nbdQueries(readModel);
});

const lease = (port: number, jobId = 'job-a') => ({
  port,
  jobId,
  exportName: `x-${port}`,
  allocatedAt: at(),
  expiresAt: at(86_400),
});
const allocated = (...ports: readonly number[]): NbdPortsEvent => ({
  type: 'NbdPortsAllocated',
  data: { leases: ports.map((port) => lease(port)) },
});
const released = (jobId: string, ...ports: readonly number[]): NbdPortsEvent => ({
  type: 'NbdPortsReleased',
  data: { jobId, ports, reason: 'released', at: at(9) },
});
const manual = (pid: number): NbdExportEvent => ({
  type: 'NbdExportStarted',
  data: {
    ...{ exportId: 'manual-10105-x', exportName: 'x', port: 10105, imagePath: '/r/x.qcow2', pid },
    ...{ readOnly: true, sharedConnections: 5, at: at(5) },
  },
});
const ports = async () => (await queries.ports('hub-1')).map(({ port }) => port);
const pids = async () => (await queries.exports()).map(({ pid }) => pid);

describe('the table of leased ports', () => {
  test('holds what is leased, by port, for its own host', async () => {
    await tell(allocated(10101, 10100));
    assert.deepEqual(await ports(), [10100, 10101]);
    assert.deepEqual((await queries.ports('hub-1'))[0], {
      ...{ storage_node: 'hub-1', port: 10100, job_id: 'job-a', export_name: 'x-10100' },
      ...{ allocated_at: at(), expires_at: at(86_400) },
    });
    assert.deepEqual(await queries.ports('hub-2'), []);
  });
  test('loses what was released by its job, and takes it again', async () => {
    await tell(allocated(10100, 10101), released('job-b', 10100), released('job-a', 10101, 10102));
    assert.deepEqual(await ports(), [10100]);
    await tell(allocated(10101), allocated());
    assert.deepEqual(await ports(), [10100, 10101]);
  });
  test('does not change when the state is carried forward', async () => {
    await tell(
      allocated(10100),
      { type: 'NbdPortsCarriedForward', data: { leases: [lease(10100)] } },
      released('job-a', 10100),
    );
    assert.deepEqual(await ports(), []);
  });
});

describe('the table of running exports', () => {
  test('holds those of backups and those started by hand', async () => {
    await tell(facts.exportStarted(0), facts.exportStarted(1), manual(77));
    assert.deepEqual(await pids(), [4000, 4001, 77]);
    const [ofBackup, , byHand] = await queries.exports();
    assert.deepEqual(ofBackup, {
      ...{ export_id: `${backupId}-disk0`, export_name: 'pgtest1-disk-2000', port: 10100, qcow2_path: imagePath(0) },
      ...{ pid: 4000, read_only: false, shared_connections: 10, backup_id: backupId, started_at: at(2) },
    });
    assert.deepEqual([byHand?.backup_id, byHand?.read_only, byHand?.shared_connections], [null, true, 5]);
  });
  test('loses what stopped or died, and holds the newest process of an export', async () => {
    await tell(facts.exportStarted(0), facts.exportStarted(1), manual(77), manual(78));
    await tell(facts.exportStopped(0), facts.exportDied(1), facts.exportStopped(1, 'not-running'));
    assert.deepEqual(await pids(), [78]);
    await tell({
      type: 'NbdExportEnded',
      data: { exportId: 'manual-10105-x', port: 10105, reason: 'died', detail: '', at: at() },
    });
    assert.deepEqual(await pids(), []);
  });
});
