import { fuzzCli } from "./fuzz/cli_fuzz.ts";
import { fuzzJson } from "./fuzz/json_fuzz.ts";
import { fuzzKeys } from "./fuzz/key_fuzz.ts";

Deno.test("ids from a fuzzer have each a file of their own, inside the base", async () => {
  await fuzzKeys(4_000);
});

Deno.test("JSON from a fuzzer is a transaction or refused", () => {
  fuzzJson(10_000);
});

Deno.test("arguments from a fuzzer end in a documented exit code and one line", async () => {
  await fuzzCli(1_000);
});
