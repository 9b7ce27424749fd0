import type { Discovery } from '#domain/vm-context/discovered-vm.ts';

/** A login with its clear password: lives no longer than the call that needs it. */
export type VcenterLogin = Readonly<{
  vcenterHost: string;
  username: string;
  password: string;
  datacenter: string;
}>;

/** What a vCenter (or a lab) holds, through the node appliance at its site. */
export interface VmInventory {
  /**
   * Reads the whole datacenter. `filter`: comma-separated, each part matches any part of a VM's name; none means all.
   * Throws `source-refused` when the login, the host or the datacenter is wrong, `node-error` for any other answer that is
   * not a discovery, `node-unreachable` and `node-timeout`.
   */
  discover(request: VcenterLogin & Readonly<{ filter?: string }>, signal: AbortSignal): Promise<Discovery>;
}

export type ManagedVmRef = Readonly<{ contextId: string; vmName: string; vmwareVmId: string; vcenterHost: string }>;

/** A look-up in the read model: it may lag, what is written is guarded by claims. */
export interface ManagedVms {
  /** All of them. */
  managedVms(): Promise<readonly ManagedVmRef[]>;
}
