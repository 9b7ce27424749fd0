import { type BackupNode, NodeUnreachable, type TransferRequest } from '#process-managers/ports.ts';

export type FakeBackupNode = BackupNode &
  Readonly<{
    /** Every start that arrived: a second one of a job would be a second client. */
    starts: TransferRequest[];
    /** Jobs whose client runs. */
    clients: Set<string>;
    trouble: {
      /** Thrown instead of taking the job. */
      refusal: Error | undefined;
      /** Thrown after the job was taken: the answer is lost. */
      lostAnswer: Error | undefined;
      away: boolean;
    };
  }>;

/** A node appliance in memory. */
export const createFakeBackupNode = (): FakeBackupNode => {
  const starts: TransferRequest[] = [];
  const clients = new Set<string>();
  const trouble: FakeBackupNode['trouble'] = { refusal: undefined, lostAnswer: undefined, away: false };
  const reach = () => {
    if (trouble.away) throw new NodeUnreachable('connect ECONNREFUSED', false);
  };
  return {
    ...{ starts, clients, trouble },
    startBackup: async (request) => {
      reach();
      if (trouble.refusal) throw trouble.refusal;
      starts.push(request);
      clients.add(request.jobId);
      if (trouble.lostAnswer) throw trouble.lostAnswer;
      return { pid: 18_231 };
    },
    knowsJob: async (jobId) => {
      reach();
      return clients.has(jobId);
    },
    cancelBackup: async (jobId) => {
      reach();
      return clients.delete(jobId);
    },
  };
};
