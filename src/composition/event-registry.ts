import { auditDaysEventVersions, auditEventVersions } from '#domain/audit/events.ts';
import { backupEventVersions } from '#domain/backup/events.ts';
import { claimEventVersions } from '#domain/claim/claim.ts';
import { diskRestoreEventVersions } from '#domain/disk-restore/events.ts';
import { createUpcaster, type UpcasterSteps } from '#domain/event-versions.ts';
import { idempotencyKeyEventVersions } from '#domain/idempotency-key/idempotency-key.ts';
import { mountSlotsEventVersions } from '#domain/mount-slots/mount-slots.ts';
import { nbdExportEventVersions } from '#domain/nbd-export/nbd-export.ts';
import { nbdPortsEventVersions } from '#domain/nbd-ports/nbd-ports.ts';
import { parkedStreamEventVersions } from '#domain/parked-stream/parked-stream.ts';
import { repositoryEventVersions } from '#domain/repository/repository.ts';
import { repositoryRootsEventVersions } from '#domain/repository/roots.ts';
import { repositoryStorageEventVersions } from '#domain/repository/storage.ts';
import { restoreMountEventVersions } from '#domain/restore-mount/events.ts';
import { restorePointsEventVersions } from '#domain/restore-points/events.ts';
import { sessionVersions } from '#domain/session/events.ts';
import { telemetryEventVersions } from '#domain/telemetry/events.ts';
import { vmContextEventVersions } from '#domain/vm-context/vm-context.ts';
import { credentialUsageEventVersions } from '#domain/vmware-credential/credential-usage.ts';
import { defaultCredentialEventVersions } from '#domain/vmware-credential/default-credential.ts';
import { vmwareCredentialEventVersions } from '#domain/vmware-credential/vmware-credential.ts';

/** Every event type this hub writes, with its newest schema version. */
export const eventVersions: Readonly<Record<string, number>> = {
  ...auditDaysEventVersions,
  ...auditEventVersions,
  ...backupEventVersions,
  ...claimEventVersions,
  ...credentialUsageEventVersions,
  ...defaultCredentialEventVersions,
  ...diskRestoreEventVersions,
  ...idempotencyKeyEventVersions,
  ...mountSlotsEventVersions,
  ...nbdExportEventVersions,
  ...nbdPortsEventVersions,
  ...parkedStreamEventVersions,
  ...repositoryEventVersions,
  ...repositoryRootsEventVersions,
  ...repositoryStorageEventVersions,
  ...restoreMountEventVersions,
  ...restorePointsEventVersions,
  ...sessionVersions,
  ...telemetryEventVersions,
  ...vmContextEventVersions,
  ...vmwareCredentialEventVersions,
};

/** One step for each version that was ever replaced; none was yet. */
const upcasterSteps: UpcasterSteps = {};

export const upcast = createUpcaster(eventVersions, upcasterSteps);
