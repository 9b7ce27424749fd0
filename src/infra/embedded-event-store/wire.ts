/**
 * The few pieces of protobuf's wire format that the store writes itself. An event is encoded once, when it is appended,
 * and sent as stored ever after: building message objects for every reader costs about three times as much.
 */
const maxVarintBytes = 10;
/** Room for the tag of a field (one byte below field 16) and its number or length. */
export const maxHeaderBytes = 1 + maxVarintBytes;

/** Fields one after the other into one buffer; `capacityBytes` must be enough for all of them. */
export class FieldWriter {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(capacityBytes: number) {
    this.#bytes = Buffer.allocUnsafe(capacityBytes);
  }

  /** Unsigned; exact up to 2^53 - 1. */
  varint(field: number, value: number): this {
    this.#bytes[this.#at++] = field << 3;
    this.#number(value);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    return this.header(field, value.length).encoded(value);
  }

  /** Tag and length of a field whose content follows. */
  header(field: number, lengthBytes: number): this {
    this.#bytes[this.#at++] = (field << 3) | 2;
    this.#number(lengthBytes);
    return this;
  }

  /** What is encoded already. */
  encoded(value: Uint8Array): this {
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #number(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#at++] = rest;
  }
}

export const varintField = (field: number, value: number): Buffer =>
  new FieldWriter(maxHeaderBytes).varint(field, value).finish();

/** For what does not fit a plain number; negative numbers as protobuf's int64. */
export const bigVarintField = (field: number, value: bigint): Uint8Array => {
  const bytes = [field << 3];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
};

export const bytesField = (field: number, value: Uint8Array): Buffer =>
  new FieldWriter(maxHeaderBytes + value.length).bytes(field, value).finish();

/** Tag and length only: the content follows. */
export const headerField = (field: number, lengthBytes: number): Buffer =>
  new FieldWriter(maxHeaderBytes).header(field, lengthBytes).finish();

export const emptyField = (field: number): Uint8Array => Uint8Array.of((field << 3) | 2, 0);

export const textField = (field: number, value: string): Buffer => bytesField(field, Buffer.from(value));

export const message = (...fields: readonly Uint8Array[]): Buffer => Buffer.concat(fields);

/** Reads the number at the cursor and moves it on. */
export const readVarint = (bytes: Uint8Array, cursor: { at: number }): number => {
  let value = 0;
  for (let factor = 1; ; factor *= 0x80) {
    const byte = bytes[cursor.at++] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
  }
};
