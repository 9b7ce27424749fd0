const canonical = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const dashed = (hex: string): string =>
  `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;

/** Lower case with dashes, the one form that is stored and compared; undefined if it is no UUID. */
export const normaliseEventId = (text: string): string | undefined => {
  const lower = text.toLowerCase();
  if (canonical.test(lower)) return lower;
  return /^[0-9a-f]{32}$/.test(lower) ? dashed(lower) : undefined;
};

/** Both halves are signed 64-bit decimals, as protobuf's int64 carries them. */
export const eventIdFromBits = (mostSignificant: string, leastSignificant: string): string => {
  const hexOf = (bits: string) => BigInt.asUintN(64, BigInt(bits)).toString(16).padStart(16, '0');
  return dashed(hexOf(mostSignificant) + hexOf(leastSignificant));
};

export const eventIdToBits = (id: string): readonly [mostSignificant: bigint, leastSignificant: bigint] => {
  const hex = id.replaceAll('-', '');
  return [BigInt(`0x${hex.slice(0, 16)}`), BigInt(`0x${hex.slice(16)}`)];
};
