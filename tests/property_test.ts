import { liveLives } from "./property/lives.ts";

Deno.test("a store does as its model does, through crashes and damage", async () => {
  await liveLives(40, 12);
});
