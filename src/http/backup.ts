/**
 * A backup by HTTP.
 *
 * @module
 */

import { backupStore } from "../copy/backup.ts";
import { findingText } from "../format/finding_text.ts";
import { isRemote } from "../remote_url.ts";
import type { Exchange } from "./exchange.ts";
import { Problem } from "./problem.ts";
import type { Service } from "./service.ts";

/**
 * The store as a tar archive, as it is read. A response that ends as HTTP says it
 * must is a whole archive.
 *
 * @throws {Problem} 501 for a store that machines share.
 * @throws {StoreBusyError} If the store is being repaired.
 */
export async function backupResponse(
  service: Service,
  exchange: Exchange,
): Promise<Response> {
  service.store; // or there is none to back up
  const { base, db, storage: { driver, lockTimeout } } = service.place;
  if (isRemote(base, db)) {
    throw new Problem(
      "LOCAL_ONLY",
      "A store that machines share has no backup",
    );
  }
  if (exchange.request.method === "HEAD") {
    return new Response(null, { headers: HEADERS });
  }
  const client = new AbortController();
  const archive = new TransformStream<Uint8Array, Uint8Array>();
  const saving = backupStore(base, db, archive.writable, {
    signal: AbortSignal.any([service.signal, client.signal]),
    ...(driver !== undefined && { driver }),
    ...(lockTimeout !== undefined && { lockTimeout }),
    onFinding: (finding) =>
      service.notice(
        `Left out of the backup: ${findingText(finding)}`,
        "warn",
      ),
  });
  saving.catch(() => {}); // the archive errors with it
  const reader = archive.readable.getReader();
  // What fails before anything is sent is an answer of its own.
  const reading = reader.read();
  const first = await Promise.race([reading, saving.then(() => reading)]);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    try {
      for (let next = first; !next.done; next = await reader.read()) {
        yield next.value;
      }
      await saving;
      service.backedUp = new Date();
    } finally {
      client.abort();
      await reader.cancel().catch(() => {}); // it may have failed
    }
  }
  const source = {
    async cancel() {
      client.abort();
      await reader.cancel().catch(() => {});
    },
  };
  return new Response(exchange.stream(pieces(), source), { headers: HEADERS });
}

const HEADERS = {
  "content-type": "application/x-tar",
  "content-disposition": 'attachment; filename="poh-storage.tar"',
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};
