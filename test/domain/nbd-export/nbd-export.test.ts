import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type NbdExportEvent, nbdExportDecider } from '#domain/nbd-export/nbd-export.ts';
import { at } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

const started = (pid: number) =>
  ({
    type: 'NbdExportStarted',
    data: {
      ...{ exportId: 'manual-10100-x', exportName: 'x', port: 10100, imagePath: '/r/x.qcow2', pid },
      ...{ readOnly: true, sharedConnections: 10, at: at() },
    },
  }) as const satisfies NbdExportEvent;
const ended = {
  type: 'NbdExportEnded',
  data: { exportId: 'manual-10100-x', port: 10100, reason: 'died', detail: 'killed', at: at(5) },
} as const satisfies NbdExportEvent;
const start = (pid: number) => ({ type: 'RecordExportStart', data: started(pid).data }) as const;
const end = { type: 'RecordExportEnd', data: ended.data } as const;

describe('an export started by hand', () => {
  test('is recorded once for each process', () => {
    given(nbdExportDecider).when(start(7)).thenEvents(started(7));
    given(nbdExportDecider, started(7)).when(start(7)).thenNothing();
    given(nbdExportDecider, started(7)).when(start(8)).thenEvents(started(8));
    given(nbdExportDecider, started(7), ended).when(start(7)).thenEvents(started(7));
  });
  test('ends once', () => {
    given(nbdExportDecider, started(7)).when(end).thenEvents(ended);
    given(nbdExportDecider, started(7), ended).when(end).thenNothing();
    given(nbdExportDecider).when(end).thenNothing();
  });
  test('is known from its newest event alone', () => {
    for (const event of [started(7), ended]) assert.ok(nbdExportDecider.isWholeState?.(event));
  });
});
