import { isAbsolute, normalize } from 'node:path';
import { type DiskExport, PermanentFailure, type StartExport } from '#process-managers/ports.ts';

/** It becomes part of a path: nothing in it may lead out of the runtime directory. */
export const assertExportId = (exportId: string): void => {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(exportId))
    throw new PermanentFailure(`invalid export id ${JSON.stringify(exportId)}`);
};

export const assertUsableExport = ({ exportId, exportName, imagePath, port }: StartExport): void => {
  assertExportId(exportId);
  if (!/^[A-Za-z0-9._-]{1,63}$/.test(exportName))
    throw new PermanentFailure(`invalid export name ${JSON.stringify(exportName)}`);
  if (!isAbsolute(imagePath) || normalize(imagePath) !== imagePath)
    throw new PermanentFailure(`image path ${JSON.stringify(imagePath)} is not absolute and normalised`);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new PermanentFailure(`invalid port ${port}`);
};

/** A repeat may come with another port, because the first one's was never recorded; never with another disk. */
export const assertSameExport = (running: DiskExport, request: StartExport): void => {
  const { exportId, exportName, imagePath, readOnly } = request;
  if (running.exportName === exportName && running.imagePath === imagePath && running.readOnly === readOnly) return;
  throw new PermanentFailure(
    `export ${exportId} serves ${running.imagePath} as ${running.exportName} already, not what is asked for now`,
  );
};
