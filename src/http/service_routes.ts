/**
 * What concerns the service and not its transactions: probes, figures, its
 * description, the page for people.
 *
 * @module
 */

import { openApi } from "./openapi.ts";
import { PAGE_PARAMETERS, pageResponse } from "./page.ts";
import { jsonContent, plainText, type Route, TEXT } from "./route.ts";
import { STYLE } from "./style.ts";

/** These routes; the description is made from all. */
export function serviceRoutes(all: () => readonly Route[]): Route[] {
  return [
    {
      method: "GET",
      path: "/healthz",
      scope: "public",
      operation: {
        id: "health",
        summary: "Whether the process answers",
        answers: { 200: plainText("OK") },
      },
      handle: (c) => c.text("OK"),
    },
    {
      method: "GET",
      path: "/readyz",
      scope: "public",
      operation: {
        id: "ready",
        summary: "Whether transactions are served: recovery is done",
        answers: { 200: plainText("OK") },
        problems: [
          "DISK_FAILED",
          "DISK_FULL",
          "LOCK_STUCK",
          "NOT_READY",
          "STORE_MOVED",
        ],
      },
      handle: async (c, service) => {
        const problem = await service.whyNotReady();
        if (problem) throw problem;
        return c.text("OK");
      },
    },
    {
      method: "GET",
      path: "/metrics",
      scope: "read",
      operation: {
        id: "metrics",
        summary: "Figures for Prometheus",
        answers: { 200: plainText("Text format 0.0.4") },
      },
      handle: async (c, service) =>
        c.body(await service.metricsText(), 200, {
          "content-type": service.metrics.contentType,
        }),
    },
    {
      method: "GET",
      path: "/openapi.json",
      scope: "read",
      operation: {
        id: "describe",
        summary: "This description",
        answers: {
          200: {
            description: "OpenAPI 3.1",
            content: jsonContent({ type: "object" }),
          },
        },
      },
      handle: (c) => c.json(openApi(all())),
    },
    {
      method: "GET",
      path: "/",
      scope: "read",
      operation: {
        id: "page",
        summary: "The page for people",
        query: Object.fromEntries(
          Object.entries(PAGE_PARAMETERS).map(([name, description]) => [
            name,
            { description },
          ]),
        ),
        answers: {
          200: {
            description: "HTML",
            content: { "text/html": { schema: TEXT } },
          },
        },
        problems: ["UNKNOWN_TX", "NOT_READY"],
      },
      handle: (c, service) => pageResponse(service, c.env.query),
    },
    {
      method: "GET",
      path: "/style.css",
      scope: "read",
      operation: {
        id: "style",
        summary: "The page's style sheet",
        answers: {
          200: {
            description: "CSS",
            content: { "text/css": { schema: TEXT } },
          },
        },
      },
      handle: (c) =>
        c.body(STYLE, 200, {
          "content-type": "text/css; charset=utf-8",
          "cache-control": "max-age=3600",
        }),
    },
  ];
}
