/**
 * All routes.
 *
 * @module
 */

import { adminRoutes } from "./admin_routes.ts";
import type { Route } from "./route.ts";
import { serviceRoutes } from "./service_routes.ts";
import { tlogRoutes } from "./tlog_routes.ts";
import { txRoutes } from "./tx_routes.ts";

/** All routes, in the order in which the description has them. */
export const ROUTES: readonly Route[] = [
  ...txRoutes,
  ...adminRoutes,
  ...tlogRoutes,
  ...serviceRoutes(() => ROUTES),
];
