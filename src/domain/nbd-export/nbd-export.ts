import type { Decider } from '../decider.ts';
import type { Versions } from '../event-versions.ts';

/** An export that somebody started by hand, or by the API; the exports of backups are steps of their jobs. */
export type NbdExportEvent =
  | Readonly<{
      type: 'NbdExportStarted';
      data: Readonly<{
        exportId: string;
        exportName: string;
        port: number;
        imagePath: string;
        pid: number;
        readOnly: boolean;
        sharedConnections: number;
        at: string;
      }>;
    }>
  | Readonly<{
      type: 'NbdExportEnded';
      data: Readonly<{ exportId: string; port: number; reason: 'stopped' | 'died'; detail: string; at: string }>;
    }>;

export type NbdExportState = Readonly<{ pid: number | null }>;

export type NbdExportCommand =
  | Readonly<{ type: 'RecordExportStart'; data: Extract<NbdExportEvent, { type: 'NbdExportStarted' }>['data'] }>
  | Readonly<{ type: 'RecordExportEnd'; data: Extract<NbdExportEvent, { type: 'NbdExportEnded' }>['data'] }>;

const decide = (command: NbdExportCommand, state: NbdExportState): readonly NbdExportEvent[] => {
  switch (command.type) {
    case 'RecordExportStart':
      return state.pid === command.data.pid ? [] : [{ type: 'NbdExportStarted', data: command.data }];
    case 'RecordExportEnd':
      return state.pid === null ? [] : [{ type: 'NbdExportEnded', data: command.data }];
  }
};

const evolve = (_state: NbdExportState, event: NbdExportEvent): NbdExportState => {
  switch (event.type) {
    case 'NbdExportStarted':
      return { pid: event.data.pid };
    case 'NbdExportEnded':
      return { pid: null };
  }
};

export const nbdExportDecider: Decider<NbdExportState, NbdExportCommand, NbdExportEvent> = {
  initialState: { pid: null },
  decide,
  evolve,
  // Each event tells whether it runs: an export that is started every night is read from its newest event alone.
  isWholeState: () => true,
};

export const nbdExportEventVersions: Versions<NbdExportEvent> = { NbdExportStarted: 1, NbdExportEnded: 1 };
