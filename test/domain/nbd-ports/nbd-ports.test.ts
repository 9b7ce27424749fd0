import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import {
  type NbdPortsCommand,
  type NbdPortsEvent,
  nbdPortsDecider,
  type PortLease,
} from '#domain/nbd-ports/nbd-ports.ts';
import { at } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

type Allocate = Extract<NbdPortsCommand, { type: 'AllocatePorts' }>['data'];

const allocate = (jobId: string, exportNames: readonly string[], over: Partial<Allocate> = {}): NbdPortsCommand => ({
  type: 'AllocatePorts',
  data: { jobId, exportNames, first: 10100, last: 10103, occupied: [], at: at(), expiresAt: at(86400), ...over },
});
const lease = (port: number, jobId: string, exportName: string): PortLease => ({
  ...{ port, jobId, exportName, allocatedAt: at(), expiresAt: at(86400) },
});
const allocated = (...leases: readonly PortLease[]): NbdPortsEvent => ({ type: 'NbdPortsAllocated', data: { leases } });
const release = (jobId: string, ...ports: readonly number[]): NbdPortsCommand => ({
  type: 'ReleasePorts',
  data: { jobId, ports, reason: 'released', at: at(9) },
});
const released = (jobId: string, ...ports: readonly number[]): NbdPortsEvent => ({
  type: 'NbdPortsReleased',
  data: { jobId, ports, reason: 'released', at: at(9) },
});
const pool = (...history: readonly NbdPortsEvent[]) => given(nbdPortsDecider, ...history);
const two = allocated(lease(10100, 'job-a', 'a-0'), lease(10101, 'job-a', 'a-1'));

describe('NBD ports', () => {
  test('are given lowest first, one for each disk, in its order', () =>
    pool()
      .when(allocate('job-a', ['a-0', 'a-1']))
      .thenEvents(two));
  test('leased to others or taken by other programs are passed over', () =>
    pool(two)
      .when(allocate('job-b', ['b-0'], { occupied: [10102] }))
      .thenEvents(allocated(lease(10103, 'job-b', 'b-0'))));
  test('that became free are given again', () =>
    pool(two, released('job-a', 10100))
      .when(allocate('job-b', ['b-0']))
      .thenEvents(allocated(lease(10100, 'job-b', 'b-0'))));
  test('are given all or none', () => {
    const refusal = pool(two)
      .when(allocate('job-b', ['b-0', 'b-1', 'b-2']))
      .thenRefused('nbd-ports-exhausted');
    assert.deepEqual(refusal.details, { asked: 3, free: 2 });
    pool(two)
      .when(allocate('job-b', ['b-0', 'b-1'], { occupied: [10103] }))
      .thenRefused('nbd-ports-exhausted');
    pool()
      .when(allocate('job-b', ['b-0', 'b-1', 'b-2', 'b-3']))
      .thenEvents(allocated(...[0, 1, 2, 3].map((index) => lease(10100 + index, 'job-b', `b-${index}`))));
  });
  test('are kept by a repeat, which gets only what it lacks', () => {
    pool(two)
      .when(allocate('job-a', ['a-0', 'a-1']))
      .thenNothing();
    pool(two, released('job-a', 10100))
      .when(allocate('job-a', ['a-0', 'a-1'], { occupied: [10100] }))
      .thenEvents(allocated(lease(10102, 'job-a', 'a-0')));
  });
  test('of one export name belong to each job for itself', () =>
    pool(two)
      .when(allocate('job-b', ['a-0']))
      .thenEvents(allocated(lease(10102, 'job-b', 'a-0'))));
  test('are released by their job alone: named ones, or all', () => {
    pool(two).when(release('job-a', 10101)).thenEvents(released('job-a', 10101));
    pool(two)
      .when(release('job-a'))
      .thenEvents(released('job-a', 10100, 10101));
    pool(two).when(release('job-b', 10100)).thenNothing();
    pool(two)
      .when(release('job-a', 10102, 10101))
      .thenEvents(released('job-a', 10101));
    pool(two, released('job-a', 10100, 10101))
      .when(release('job-a'))
      .thenNothing();
  });
  test('of another job stay when one job’s are released', () => {
    const other = allocated(lease(10102, 'job-b', 'b-0'));
    assert.deepEqual(pool(two, other, released('job-a', 10100, 10101, 10102)).state.leases, [
      lease(10102, 'job-b', 'b-0'),
    ]);
  });
  test('are carried forward as the whole state', () => {
    const { state } = pool(two, released('job-a', 10100));
    const carried = nbdPortsDecider.carryForward?.toEvent(state) as NbdPortsEvent;
    assert.ok(nbdPortsDecider.isWholeState?.(carried) && !nbdPortsDecider.isWholeState(two));
    assert.deepEqual(fold(nbdPortsDecider, [two, carried]), state);
  });
});
