/**
 * Checks that somebody asks for by HTTP, who is told how they go.
 *
 * @module
 */

import type { CheckOptions } from "../check/check.ts";
import { findingJson, reportJson } from "../format/report_json.ts";
import type { StoreReport } from "../model/report.ts";
import type { Exchange } from "./exchange.ts";
import { LineQueue } from "./line_queue.ts";
import { NDJSON_TYPES } from "./media_types.ts";
import type { Service } from "./service.ts";

/** How often the client is told how far it has got, in ms. */
const TELL = 1_000;

/** Runs a check that tells and obeys these. */
export type Check = (
  told: Pick<CheckOptions, "signal" | "onProgress" | "onFinding">,
) => Promise<StoreReport>;

/**
 * Runs a check, and answers with lines: `{"progress":…}` now and then,
 * `{"finding":…}`, and at the end `{"report":…}` or `{"error":…}`. It stops when
 * the client goes or the service stops.
 *
 * @throws {Problem} 409 if another one is under way.
 */
export function checkResponse(
  service: Service,
  exchange: Exchange,
  check: Check,
): Response {
  service.store; // or there is none to check
  const release = service.beginCheck();
  const client = new AbortController();
  const source = {
    // deno-lint-ignore require-await -- a stream's cancel is asynchronous
    async cancel() {
      client.abort();
      if (!hasBegun) release();
    },
  };
  let hasBegun = false;
  async function* lines(): AsyncGenerator<Uint8Array> {
    hasBegun = true;
    const queue = new LineQueue();
    const signal = AbortSignal.any([service.signal, client.signal]);
    const checking = run(service, check, queue, signal).finally(release);
    try {
      const encoder = new TextEncoder();
      for await (const text of queue.texts()) yield encoder.encode(text);
      await checking;
    } finally {
      client.abort();
    }
  }
  return new Response(exchange.stream(lines(), source), {
    headers: {
      "content-type": NDJSON_TYPES[0]!,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    },
  });
}

/** Never rejects: what fails is the last line. */
async function run(
  service: Service,
  check: Check,
  queue: LineQueue,
  signal: AbortSignal,
): Promise<void> {
  let told = -Infinity;
  try {
    const report = await check({
      signal,
      onProgress: (progress) => {
        if (performance.now() - told < TELL) return;
        told = performance.now();
        queue.add(`${JSON.stringify({ progress })}\n`);
      },
      onFinding: (finding) =>
        queue.add(`${JSON.stringify({ finding: findingJson(finding) })}\n`),
    });
    queue.add(`{"report":${reportJson(report)}}\n`);
  } catch (thrown) {
    const error = service.problemOf(thrown);
    if (error.status >= 500) service.failed("A check failed", thrown);
    queue.add(`${JSON.stringify({ error })}\n`);
  }
  queue.end();
}
