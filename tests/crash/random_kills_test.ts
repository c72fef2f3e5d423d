import { assert } from "@std/assert";
import { newSeed, withSeed } from "./random.ts";
import { killOneWriter, killTwoWriters } from "./random_kills.ts";

Deno.test("a writer killed at random moments loses nothing acknowledged", async () => {
  const toll = await withSeed(newSeed(), (random) => killOneWriter(15, random));
  assert(toll.acknowledged > 100, JSON.stringify(toll));
});

Deno.test("two writers killed on one store lose nothing acknowledged", async () => {
  const toll = await withSeed(newSeed(), (random) => killTwoWriters(3, random));
  assert(toll.acknowledged > 20, JSON.stringify(toll));
});
