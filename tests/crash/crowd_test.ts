import { assert } from "@std/assert";
import { crowd } from "./crowd.ts";
import { newSeed, withSeed } from "./random.ts";

Deno.test("processes that do everything at once, killed and stopped, lose nothing", async () => {
  const toll = await withSeed(newSeed(), (random) => crowd(4, 8_000, random));
  assert(toll.kills + toll.stops > 3, JSON.stringify(toll));
  assert(toll.acknowledged > 50, JSON.stringify(toll));
});
