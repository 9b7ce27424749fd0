import type { AnchorSource, AuditVerification } from '#commands/verify-audit.ts';
import { readAnchorFile } from '#infra/audit-anchors.ts';
import type { Config } from '#infra/config.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { createLogger } from '#infra/logger.ts';
import { createHubAudit } from '../audit.ts';
import { eventVersions, upcast } from '../event-registry.ts';
import { withEventLog } from './event-log-access.ts';
import { parseCommand, positionOption } from './events-arguments.ts';
import { findRunningHub, type RunningHub } from './running-hub.ts';
import { loadConfig, UsageError } from './usage.ts';

const usage = `./sendense audit verify [--json] [--anchors FILE]...
       ./sendense audit unexplained [--from POSITION] [--json] [--anchors FILE]...`;

const options = {
  json: { type: 'boolean' },
  anchors: { type: 'string', multiple: true },
  from: { type: 'string' },
} as const;

const parse = (args: readonly string[]) => {
  const parsed = parseCommand(args, options, usage);
  const [task, ...more] = parsed.positionals;
  const from = positionOption(parsed, 'from');
  const isTask = task === 'verify' ? from === undefined : task === 'unexplained';
  if (!isTask || more.length > 0) throw new UsageError(`usage: ${usage}`);
  const { json, anchors } = parsed.values as Readonly<{ json?: boolean; anchors?: readonly string[] }>;
  return { task, from: from ?? 0n, json: json === true, anchors: anchors ?? [] };
};

/** A long trail takes its time. */
const verifyTimeoutMs = 3_600_000;

const askHub = async (hub: RunningHub): Promise<AuditVerification> => {
  const response = await hub.call('/api/v1/audit/verify', {
    method: 'POST',
    signal: AbortSignal.timeout(verifyTimeoutMs),
  });
  if (!response.ok) throw new UsageError(`the hub at ${hub.url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as AuditVerification;
};

/** Without the hub: neither the read models nor the vault are needed. */
const verifyHere = (config: Config, more: readonly AnchorSource[]): Promise<AuditVerification> =>
  withEventLog(config, 'read', async ({ client }) => {
    const store = createEventStore({ client, upcast, versions: eventVersions });
    const log = createLogger({ level: 'error', name: 'audit' });
    const audit = createHubAudit({ store, storageNode: config.nodeName, log });
    return audit.verify(AbortSignal.timeout(verifyTimeoutMs), more);
  });

const report = ({ ok, days, entries, anchors, difference, head }: AuditVerification): readonly string[] => {
  const warnings = anchors.unreachable.map(({ place, reason }) => `! not compared: ${place}: ${reason}`);
  if (ok) {
    const compared = `${anchors.checked} anchors in ${anchors.files} files agree`;
    return [`✔ ${entries} entries of ${days} days are as they were written; ${compared}`, ...warnings];
  }
  const where = [
    ...(difference?.stream ? [difference.stream] : []),
    ...(difference?.revision ? [`revision ${difference.revision}`] : []),
    ...(difference?.position ? [`position ${difference.position}`] : []),
    ...(difference?.entry ? [`entry ${difference.entry.n}`] : []),
  ];
  return [
    `✖ the audit trail is not as it was written: ${difference?.detail}`,
    `  ${difference?.kind} at ${where.join(', ') || 'an anchor file'}; ${head ? 'what lies before it is intact' : 'nothing before it'}`,
    ...warnings,
  ];
};

/** `verify`: 0 when log and anchors agree, 1 when they do not. `unexplained`: 0 when every event is accounted for. */
export const runAudit = async (args: readonly string[]): Promise<number> => {
  const { task, json, anchors, from } = parse(args);
  const config = await loadConfig();
  // Anchors from elsewhere are on this host's disk, which a hub need not trust.
  const more = anchors.map((path): AnchorSource => ({ place: path, read: () => readAnchorFile(path) }));
  if (task === 'unexplained') {
    const { runAuditUnexplained } = await import('./audit-unexplained.ts');
    return runAuditUnexplained(config, { json, from, anchors: more });
  }
  const hub = await findRunningHub(config.dataDir);
  const verification = hub && more.length === 0 ? await askHub(hub) : await verifyHere(config, more);
  const lines = json ? [JSON.stringify(verification, null, 2)] : report(verification);
  process.stdout.write(`${lines.join('\n')}\n`);
  return verification.ok ? 0 : 1;
};
