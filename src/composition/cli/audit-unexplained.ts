import type { EventStoreDBClient } from '@eventstore/db-client';
import { findUnexplainedEvents, type UnexplainedEvents } from '#commands/unexplained-events.ts';
import type { AnchorSource } from '#commands/verify-audit.ts';
import type { TracedEvent } from '#domain/audit/evidence.ts';
import type { Config } from '#infra/config.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { isGapMarker } from '#infra/event-transfer/gap-marker.ts';
import { newestBefore, readHistory } from '#infra/event-transfer/log-reader.ts';
import type { StoredEvent } from '#infra/event-transfer/stored-event.ts';
import { createLogger } from '#infra/logger.ts';
import { SqliteOriginLedger } from '#infra/origin-ledger.ts';
import { createHubAudit } from '../audit.ts';
import { eventVersions, upcast } from '../event-registry.ts';
import { withEventLog } from './event-log-access.ts';
import { createProgressLine, interruption, print, printable, tell } from './output.ts';
import { findRunningHub } from './running-hub.ts';

/** Longer than any request takes that appends first and waits then, such as one that mounts a disk. */
const patienceMs = 600_000;

const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** Metadata that is no JSON object tells nothing. */
const metadataOf = ({ metadata }: StoredEvent): Readonly<Record<string, unknown>> => {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(metadata).toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
  } catch {
    return {};
  }
};

const traced = (event: StoredEvent): TracedEvent => {
  const { id, stream, revision, position, type, created } = event;
  const { by, $causationId } = metadataOf(event);
  return {
    id,
    stream,
    revision,
    position,
    type,
    recordedAt: created,
    by: textOf(by),
    causationId: textOf($causationId),
  };
};

async function* tracedLog(client: EventStoreDBClient, signal: AbortSignal): AsyncIterable<TracedEvent> {
  const newest = await newestBefore(client, 'end');
  for await (const event of readHistory(client, { cursor: undefined, to: newest?.position ?? -1n }, signal)) {
    // An import made them, in place of events that were let go before it.
    if (!isGapMarker(event)) yield traced(event);
  }
}

export type UnexplainedOptions = Readonly<{ json: boolean; from: bigint; anchors: readonly AnchorSource[] }>;

const find = async (config: Config, options: UnexplainedOptions): Promise<UnexplainedEvents> => {
  const signal = interruption();
  const { show, end } = createProgressLine();
  const ledger = new SqliteOriginLedger();
  // Of a hub elsewhere nothing is known: it may be at work.
  const mayWork = config.eventStore.kind === 'external' || (await findRunningHub(config.dataDir)) !== undefined;
  try {
    return await withEventLog(config, 'read', ({ client }) => {
      const store = createEventStore({ client, upcast, versions: eventVersions });
      const log = createLogger({ level: 'error', name: 'audit' });
      const audit = createHubAudit({ store, storageNode: config.nodeName, log });
      return findUnexplainedEvents(
        {
          ...{ ledger, log: () => tracedLog(client, signal) },
          verifyTrail: (watch) => audit.verify(signal, options.anchors, watch),
        },
        {
          from: options.from,
          pendingSince: mayWork ? new Date(Date.now() - patienceMs).toISOString() : undefined,
          onProgress: (events) => show(`${events} events read`),
        },
      );
    });
  } finally {
    end();
    ledger.close();
  }
};

const asJson = ({ judged, unexplained, pending, findings, trail }: UnexplainedEvents): string => {
  const listed = findings.map(({ revision, position, ...rest }) => ({
    ...rest,
    ...{ revision: `${revision}`, position: `${position}` },
  }));
  const ok = trail.ok && unexplained === 0;
  return JSON.stringify({ ok, judged, unexplained, pending, findings: listed, trail }, null, 2);
};

const sentences = ({ judged, unexplained, pending, findings, trail }: UnexplainedEvents): readonly string[] => {
  const lines = findings.map(({ position, stream, revision, type, recordedAt, why }) =>
    printable(`  ${recordedAt}  ${position}  ${stream}@${revision}  ${type}: ${why}`),
  );
  const more = unexplained > findings.length ? [`  and ${unexplained - findings.length} more; go on with --from`] : [];
  const young = pending > 0 ? [`! ${pending} events are so young that their entry may be under way: ask again`] : [];
  const apart = trail.anchors.unreachable.map(({ place, reason }) => `! not compared: ${place}: ${reason}`);
  const head =
    unexplained === 0
      ? `✔ ${judged} events of the hub are accounted for by ${trail.entries} entries of the audit trail and by their causes`
      : `✖ ${unexplained} of ${judged} events of the hub are not accounted for: appended around it, or by a command whose hub was killed before its entry`;
  return [head, ...lines, ...more, ...young, ...apart];
};

/** 0 when every event of the hub's streams is accounted for, 1 when one is not, or when the trail cannot be relied on. */
export const runAuditUnexplained = async (config: Config, options: UnexplainedOptions): Promise<number> => {
  const found = await find(config, options);
  const { trail, unexplained } = found;
  if (options.json) await print(`${asJson(found)}\n`);
  else if (trail.ok) await print(`${sentences(found).join('\n')}\n`);
  else {
    tell(`The audit trail is not as it was written, so nothing can be concluded from it: ${trail.difference?.detail}.`);
    tell('./sendense audit verify tells where.');
  }
  return trail.ok && unexplained === 0 ? 0 : 1;
};
