import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { StorageManager, txToJson } from "../mod.ts";
import {
  bytes,
  denoScript,
  flipBit,
  outputOf,
  sampleTx,
  type TempStore,
  tempStore,
  test,
  within,
} from "./helpers.ts";

const EXAMPLES = join(import.meta.dirname!, "..", "examples");

/** An example on a store, with the permissions that its first lines name. */
function example(
  name: string,
  base: string,
  args: string[] = [],
  options: { port?: number; stdin?: "piped" } = {},
): Deno.Command {
  const source = Deno.readTextFileSync(join(EXAMPLES, name));
  const permissions = source.match(/--allow-[\w-]+=\S+/g)!.map((flag) =>
    flag.replace("=data", `=${base}`).replace("8000", `${options.port}`)
  );
  return denoScript(join("../../examples", name), [base, ...args], {
    permissions,
    imports: { "@poh/storage": import.meta.resolve("../mod.ts") },
    stdin: options.stdin ?? "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function storeOf(...txs: Parameters<typeof sampleTx>[0][]) {
  const temp = await tempStore();
  for (const tx of txs) await temp.store.saveTx(sampleTx(tx));
  await temp.close();
  return temp;
}

async function idsIn({ base, db }: TempStore): Promise<string[]> {
  await using store = await StorageManager.open(base, db);
  return await store.listTxs();
}

test("startup.ts recovers and reports before it serves", async () => {
  await using temp = await storeOf({ txId: "a" }, { txId: "b" });
  await flipBit(join(temp.base, "a.bin"));
  const { code, stdout, stderr } = await outputOf(
    example("startup.ts", temp.base),
  );
  assertEquals([code, stdout], [0, "1\n"], stderr);
  assertStringIncludes(stderr, "payload-corrupt of a");
});

test("ingest.ts saves every line of its input", async () => {
  await using temp = await storeOf({ txId: "old" });
  const txs = ["old", "x", "y"].map((txId) => sampleTx({ txId }));
  const lines = txs.map((tx) => JSON.stringify(txToJson(tx))).join("\n");
  const child = example("ingest.ts", temp.base, [], { stdin: "piped" }).spawn();
  const input = child.stdin.getWriter();
  await input.write(bytes(lines));
  await input.close();
  const { code } = await within(30_000, child.output());
  assertEquals(code, 0);
  assertEquals(await idsIn(temp), ["old", "x", "y"]);
});

test("expire.ts deletes what is older than the days given", async () => {
  const now = Date.now() / 1000;
  await using temp = await storeOf(
    { txId: "old", timestamp: now - 8 * 86_400 },
    { txId: "new", timestamp: now - 6 * 86_400 },
  );
  const { code, stderr } = await outputOf(
    example("expire.ts", temp.base, ["7"]),
  );
  assertEquals(code, 0, stderr);
  assertEquals(await idsIn(temp), ["new"]);
});

test("by_holder.ts prints a holder's transactions, newest first", async () => {
  const holderId = "alice";
  await using temp = await storeOf(
    { txId: "a", holderId, timestamp: 1 },
    { txId: "b", holderId, timestamp: 2 },
    { txId: "c", holderId: "bob", timestamp: 3 },
  );
  const first = await outputOf(example("by_holder.ts", temp.base, [holderId]));
  const ids = first.stdout.trim().split("\n").map((line) => line.split(" ")[0]);
  assertEquals(ids, ["b", "a"], first.stderr);
  const next = await outputOf(
    example("by_holder.ts", temp.base, [holderId, "b"]),
  );
  assert(next.stdout.startsWith("a "), next.stderr);
});

test("web.ts gives a payload, and breaks off a damaged one", async () => {
  await using temp = await storeOf({ txId: "a/b" }, { txId: "bad" });
  await flipBit(join(temp.base, "bad.bin"));
  const port = freePort();
  const child = example("web.ts", temp.base, [`${port}`], { port }).spawn();
  const url = `http://127.0.0.1:${port}`;
  try {
    const found = await answered(`${url}/a%2Fb`);
    assertEquals(await found.bytes(), sampleTx({ txId: "a/b" }).payload);
    const unknown = await fetch(`${url}/none`);
    assertEquals([unknown.status, await unknown.text()], [
      404,
      "No such transaction\n",
    ]);
    const damaged = await fetch(`${url}/bad`).then((it) => it.bytes())
      .catch((error) => error);
    assert(damaged instanceof Error, String(damaged));
  } finally {
    child.kill("SIGINT");
    const { code } = await within(30_000, child.output());
    if (Deno.build.os !== "windows") assertEquals(code, 0);
  }
});

/** A port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The answer of a server that may not listen yet. */
async function answered(url: string): Promise<Response> {
  for (let attempt = 0;; attempt++) {
    try {
      return await fetch(url);
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
