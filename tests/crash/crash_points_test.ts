import { assert, assertEquals } from "@std/assert";
import { CRASH_POINTS } from "../../src/crash_points.ts";
import { performRecovery, StorageManager } from "../../mod.ts";
import { outline, tempDir } from "../helpers.ts";
import { allWorkloads, carryOut, killsAt } from "./crash_points.ts";
import { placeBelow, runWriter } from "./process.ts";

Deno.test("a process killed at any step loses nothing", async (t) => {
  await using dir = await tempDir();
  const workloads = await allWorkloads(dir.path);
  for (const point of CRASH_POINTS) {
    const kills = killsAt(point, workloads);
    await t.step(`"${point}", ${kills.length} times`, async () => {
      assert(kills.length > 0, "no workload reaches it");
      await carryOut(kills);
    });
  }
});

// `a%2Fb.bin` is the file of `a/b`, and where the older Python package would
// have kept that of `a%2Fb`: with the same bytes, the digest cannot tell.
Deno.test("a deletion that a crash cut short spares the file of an id with a like name", async () => {
  await using dir = await tempDir();
  const place = placeBelow(dir.path);
  const { base, db } = place;
  const ids = ["a/b", "a%2Fb"] as const;
  {
    await using store = await StorageManager.create(base, db);
    for (const txId of ids) {
      const payload = new Uint8Array([1, 2, 3]);
      await store.saveTx({ txId, holderId: "", timestamp: 0, payload });
    }
  }
  const { killed } = await runWriter({
    ...place,
    options: {},
    work: { kind: "delete", id: ids[1] },
    kill: { point: "file removed", n: 1 },
  });
  assert(killed);
  assertEquals(outline(await performRecovery(base, db)), []);
  await using store = await StorageManager.create(base, db);
  assertEquals(await store.listTxs(), [ids[0]]);
  assertEquals((await store.loadTx(ids[0]))?.payload.length, 3);
});
