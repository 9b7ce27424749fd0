/** What events only refer to. Losing this schema loses the secrets and nothing else. */
export type VaultTables = {
  /** `reference` is what events carry; the data key is wrapped with the hub's key, the secret with the data key. */
  secrets: { reference: string; wrapped_key: string; ciphertext: string; created_at: string };
  /** Hashes of people's passwords, by user name. */
  passwords: { subject: string; hash: string; updated_at: string };
};
