import { assert, assertEquals } from "@std/assert";
import { Pacer } from "../../src/async/turn.ts";

/** Blocks the event loop. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

Deno.test("giveWay() asks for no turn before work has gone on for a while", () => {
  assertEquals(new Pacer().giveWay(), undefined);
});

Deno.test("giveWay() has all who wait share one turn", async () => {
  const pacer = new Pacer();
  work(5);
  const [first, ...others] = Array.from(
    { length: 64 },
    () => pacer.giveWay(),
  );
  assert(first !== undefined);
  assert(others.every((turn) => turn === first));
  await first;
});

Deno.test("giveWay() gives way again after the shared turn", async () => {
  const pacer = new Pacer();
  work(5);
  await pacer.giveWay();
  assertEquals(pacer.giveWay(), undefined);
  work(5);
  assert(pacer.giveWay() !== undefined);
});
