/** The backup that an export's id (`<backup id>-disk<n>`) names; undefined for an export that somebody started by hand. */
export const backupOfExport = (exportId: string): Readonly<{ backupId: string; diskIndex: number }> | undefined => {
  const match = /^(backup-.+)-disk(\d+)$/.exec(exportId);
  return match?.[1] && match[2] ? { backupId: match[1], diskIndex: Number(match[2]) } : undefined;
};
