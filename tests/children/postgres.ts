/** Saves and finds a transaction in PostgreSQL: `postgres.ts <url>`. */

import { PostgresStore } from "../../src/shared/postgres/postgres_store.ts";

await using store = PostgresStore.open(Deno.args[0]!);
await store.init();
await store.save({
  txId: "a",
  holderId: "alice",
  timestamp: 1.5,
  storageHash: "00".repeat(32),
  size: 3,
});
console.log(await store.listIds());
