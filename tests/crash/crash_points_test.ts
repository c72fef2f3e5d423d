import { assert } from "@std/assert";
import { CRASH_POINTS } from "../../src/async/crash_points.ts";
import { memoryDir } from "./disk.ts";
import { allWorkloads, carryOut, killsAt } from "./crash_points.ts";

Deno.test("a process killed at any step loses nothing", async (t) => {
  await using dir = await memoryDir();
  const workloads = await allWorkloads(dir.path);
  for (const point of CRASH_POINTS) {
    const kills = killsAt(point, workloads);
    await t.step(`"${point}", ${kills.length} times`, async () => {
      assert(kills.length > 0, "no workload reaches it");
      await carryOut(kills);
    });
  }
});
