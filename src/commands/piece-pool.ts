/**
 * Memory that is used again: a fresh piece for every read costs as much as the reading, and stays until the next garbage collection.
 * A piece that is never given back is simply lost to the pool.
 */
export class PiecePool {
  readonly pieceBytes: number;
  readonly #allocate: (bytes: number) => Uint8Array<ArrayBuffer>;
  readonly #free: ArrayBuffer[] = [];

  constructor(pieceBytes: number, allocate = (bytes: number) => new Uint8Array(bytes)) {
    this.pieceBytes = pieceBytes;
    this.#allocate = allocate;
  }

  take(bytes = this.pieceBytes): Uint8Array<ArrayBuffer> {
    const memory = this.#free.pop();
    return memory ? new Uint8Array(memory, 0, bytes) : this.#allocate(this.pieceBytes).subarray(0, bytes);
  }

  /** Also a part that begins where the piece did. Once for each. */
  giveBack(piece: Uint8Array): void {
    const { buffer, byteOffset } = piece;
    if (buffer instanceof ArrayBuffer && byteOffset === 0 && buffer.byteLength === this.pieceBytes)
      this.#free.push(buffer);
  }
}
