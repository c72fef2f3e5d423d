/**
 * Long loops give way here, so that a service that runs beside them stays
 * responsive.
 *
 * @module
 */

import { setImmediate } from "node:timers";

/** Lets timers and I/O have their turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
