import { assertEquals } from "@std/assert";
import type { LogRecord } from "../../src/log/record.ts";
import { Unsynced } from "../../src/log/unsynced.ts";

function recordAt(position: number, txId: string, isPacked = false): LogRecord {
  return {
    kind: "put",
    txId,
    holderId: "alice",
    timestamp: 1,
    storageHash: "ab".repeat(32),
    size: 0,
    payload: new Uint8Array(),
    name: "",
    isPacked,
    position,
    length: 100,
    startsBatch: true,
  };
}

Deno.test("the files of one writer are the last of each id, but for packed ones", () => {
  const unsynced = new Unsynced(1_000);
  unsynced.add([recordAt(1_000, "a"), recordAt(1_100, "b")], new Map());
  unsynced.add([recordAt(1_200, "a"), recordAt(1_300, "b", true)], new Map());
  assertEquals([...unsynced.files()], [{ txId: "a", position: 1_200 }]);
  assertEquals(unsynced.isAll(1_000, 1_400), true);
  assertEquals(unsynced.isAll(1_100, 1_400), true);
  assertEquals(unsynced.isAll(900, 1_400), false);
  assertEquals(unsynced.isAll(1_000, 1_500), false);
});

Deno.test("they are not all where another writer's files followed in between", () => {
  const unsynced = new Unsynced(1_000);
  unsynced.add([recordAt(1_000, "a")], new Map());
  // 1,100 to 1,200 followed elsewhere; its writer died in the next batch.
  unsynced.add([recordAt(1_200, "c")], new Map());
  assertEquals(unsynced.isAll(1_000, 1_300), false);
});
