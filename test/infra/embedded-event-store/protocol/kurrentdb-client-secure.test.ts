import { proveAppends } from './appends.ts';
import { proveDeletions } from './deletions.ts';
import { kurrentdbClient } from './kurrentdb-client.ts';
import { openLane } from './lane.ts';
import { proveReads } from './reads.ts';
import { proveSubscriptions } from './subscriptions.ts';

const lane = await openLane('secure', kurrentdbClient);
proveSubscriptions(lane);
proveAppends(lane);
proveDeletions(lane);
proveReads(lane);
