import { proveAppends, proveLargeAppend } from './appends.ts';
import { dbClient } from './db-client.ts';
import { proveDeletions } from './deletions.ts';
import { openLane } from './lane.ts';
import { proveReads } from './reads.ts';
import { proveSubscriptions } from './subscriptions.ts';

const lane = await openLane('secure', dbClient);
proveSubscriptions(lane);
proveAppends(lane);
proveLargeAppend(lane);
proveDeletions(lane);
proveReads(lane);
