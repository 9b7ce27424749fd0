import { readFile } from 'node:fs/promises';

/** proc_net_tcp(5): the state is hexadecimal, 01 is TCP_ESTABLISHED. */
const established = '01';

const countIn = (table: string, port: number): number => {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === established && local?.endsWith(wanted)).length;
};

/** Established connections whose own end is this port. The kernel's table, because `ss` costs a process. */
export const countConnections = async (port: number): Promise<number> => {
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].map((path) =>
    // A kernel without IPv6 has no second table.
    readFile(path, 'utf8').catch(() => ''),
  );
  const counts = (await Promise.all(tables)).map((table) => countIn(table, port));
  return counts.reduce((sum, count) => sum + count, 0);
};
