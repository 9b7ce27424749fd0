/** When a mount ends unless somebody reads from it again. */
export const deadlineAfter = (accessedAt: string, idleSeconds: number): string =>
  new Date(Date.parse(accessedAt) + idleSeconds * 1000).toISOString();
