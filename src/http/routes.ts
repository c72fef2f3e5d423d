/**
 * All routes.
 *
 * @module
 */

import type { Route } from "./route.ts";
import { serviceRoutes } from "./service_routes.ts";
import { txRoutes } from "./tx_routes.ts";

/** All routes, in the order in which the description has them. */
export const ROUTES: readonly Route[] = [
  ...txRoutes,
  ...serviceRoutes(() => ROUTES),
];
