import assert from 'node:assert/strict';
import type { Reply, VmsHub } from './vms-hub.ts';

export type Wire = Record<string, unknown>;

export const password = 'Geheim-7731';
/** What a credential is created with. */
export const login = (name: string) => ({
  ...{ credential_name: name, vcenter_host: 'vc.example', username: 'backup', password, datacenter: 'DC1' },
});
export const typedIn = { vcenter: 'vc.example', username: 'backup', password, datacenter: 'DC1' };

/** The calls of a test, in its words. */
export const createVmsClient = (hub: () => VmsHub) => {
  const call: VmsHub['call'] = (...args) => hub().call(...args);
  const answered = async (route: string, body?: unknown): Promise<Wire> => {
    const reply = await call(route, body);
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
    return reply.body;
  };
  const refused = (reply: Reply, status: number, code: string): void => {
    assert.equal(reply.status, status, JSON.stringify(reply.body));
    assert.equal(reply.headers.get('x-error-code'), code);
    assert.equal(reply.body.error, reply.body.message);
    assert.ok(typeof reply.body.details === 'string' && typeof reply.body.timestamp === 'string');
    assert.ok(!JSON.stringify(reply.body).includes(password));
  };
  return {
    ...{ call, answered, refused },
    contextOf: async (name: string): Promise<Wire> =>
      (await answered(`GET /vm-contexts/${encodeURIComponent(name)}`)).context as Wire,
    /** Saves a login, which opens the fake vCenter if nothing else is said. */
    created: async (name: string, more: object = {}): Promise<number> => {
      hub().vcenter.password = password;
      const { credential } = await answered('POST /vmware-credentials', { ...login(name), ...more });
      return (credential as { id: number }).id;
    },
    has: (...vms: VmsHub['vcenter']['vms']): void => {
      hub().vcenter.vms = vms;
    },
  };
};
