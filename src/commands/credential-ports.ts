/** Keeps secrets outside the log, encrypted; events carry the reference. */
export interface SecretVault {
  /** Throws `secret-key-missing`: better before anything was written than after. */
  assertReady(): void;
  /** Throws `secret-key-missing`. */
  keep(reference: string, secret: string): Promise<void>;
  /** Throws `secret-key-missing`, or `credential-unusable` when the secret is gone or cannot be read with this key. */
  reveal(reference: string): Promise<string>;
  /** Destroys its key, for good; content with nothing. */
  forget(reference: string): Promise<void>;
  /** References that begin with `prefix`, and when each was kept. */
  list(prefix: string): Promise<readonly Readonly<{ reference: string; keptAt: string }>[]>;
}

/** Look-ups in the read model, which may lag. */
export interface CredentialLookups {
  /** The highest number in use; 0 for none. Where to begin looking for a free one. */
  highestId(): Promise<number>;
  vmsUsing(credentialId: number): Promise<number>;
  otherActive(credentialId: number): Promise<number>;
}
