import { assert, assertEquals } from "@std/assert";
import { whyNoDisk } from "./disk.ts";
import { cutPower, cutPowerInRecovery } from "./power_loss.ts";
import { newSeed, withSeed } from "./random.ts";

const reason = await whyNoDisk();
const ignore = reason !== null;
const skipped = ignore ? ` (skipped: ${reason})` : "";

Deno.test(`a power cut loses nothing acknowledged at "full"${skipped}`, {
  ignore,
}, async () => {
  const toll = await withSeed(
    newSeed(),
    (random) => cutPower(6, "full", random),
  );
  assertEquals(toll.losses, 0);
  assert(toll.acknowledged > 100, JSON.stringify(toll));
});

Deno.test(
  `a power cut loses something at "relaxed", so the test can fail${skipped}`,
  {
    ignore,
  },
  async () => {
    const toll = await withSeed(
      newSeed(),
      (random) => cutPower(4, "relaxed", random),
    );
    assert(toll.losses > 0, JSON.stringify(toll));
  },
);

Deno.test(
  `a power cut during recovery loses nothing that was sound${skipped}`,
  {
    ignore,
  },
  async () => {
    await withSeed(newSeed(), (random) => cutPowerInRecovery(3, random));
  },
);
