/** A request the node does not carry out: becomes this status with the message as plain text. */
export class Refusal extends Error {
  readonly status: 400 | 403 | 404 | 409 | 500;

  constructor(status: Refusal['status'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Refusal';
    this.status = status;
  }
}
