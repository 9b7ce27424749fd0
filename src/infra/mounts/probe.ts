import { execa } from 'execa';

/** What a stretch of a disk holds. */
export type Content = Readonly<{
  /** blkid's name for it, e.g. `ext4`, `ntfs`, `swap`, `crypto_LUKS`, `LVM2_member`; empty when unknown. */
  filesystem: string;
  label: string;
  /** `gpt`, `dos`, …; empty when there is none. */
  partitionTable: string;
}>;

export type Stretch = Readonly<{ offsetBytes: number; sizeBytes: number }>;

const timeoutMs = 10_000;

/** Bytes that are no letter or digit come as `\x20`; the rest is UTF-8. */
const decode = (text: string): string =>
  Buffer.from(
    text.replace(/\\x([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString('utf8');

export const parseProbe = (udev: string): Content => {
  const values = new Map(
    udev.split('\n').map((line) => {
      const split = line.indexOf('=');
      return [line.slice(0, split), line.slice(split + 1)] as const;
    }),
  );
  return {
    filesystem: values.get('ID_FS_TYPE') ?? '',
    label: decode(Buffer.from(values.get('ID_FS_LABEL_ENC') ?? '').toString('latin1')).replaceAll('\0', ''),
    partitionTable: values.get('ID_PART_TABLE_TYPE') ?? '',
  };
};

/** Of a whole disk, or of a stretch of it. Nothing recognised, and signatures that contradict each other, are empty. */
export const probe = async (diskPath: string, signal: AbortSignal, stretch?: Stretch): Promise<Content> => {
  const where = stretch ? ['-O', `${stretch.offsetBytes}`, '-S', `${stretch.sizeBytes}`] : [];
  const { stdout } = await execa('blkid', ['-p', '-o', 'udev', ...where, diskPath], {
    ...{ timeout: timeoutMs, cancelSignal: signal, stdin: 'ignore', reject: false, env: { LC_ALL: 'C' } },
  });
  signal.throwIfAborted();
  return parseProbe(stdout ?? '');
};
