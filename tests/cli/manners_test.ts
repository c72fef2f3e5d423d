import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { join } from "@std/path";
import { call, cliStore, txText } from "../cli_helpers.ts";
import { flipBit, namesIn, test } from "../helpers.ts";

const onTerminal = { terminal: { stdout: true, stderr: true } };

test("commands have the names that other programs give them", async () => {
  await using store = await cliStore();
  await store.ok(["put", "--tx", txText("a")]);
  assertEquals(await store.ok(["ls"]), await store.ok(["list"]));
  assertEquals(await store.ok(["get", "a"]), await store.ok(["load", "a"]));
  assertEquals(await store.ok(["rm", "a"]), "Deleted tx a\n");
  const { stdout } = await call(["help", "rm"]);
  assertStringIncludes(stdout, "poh-storage delete (also rm):");
});

test("version is a command as well", async () => {
  const { code, stdout } = await call(["version"]);
  assertEquals([code, stdout], [0, (await call(["--version"])).stdout]);
  assertEquals((await call(["version", "now"])).code, 2);
});

test("help is a screen, and has what all commands share on pages of its own", async () => {
  const { code, stdout } = await call(["help", "environment"]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "POH_BASE");
  assertStringIncludes((await call(["help", "exit-codes"])).stdout, "130");
  assertStringIncludes(
    (await call(["help", "permissions"])).stdout,
    "--allow-read=<base>",
  );
  for (const args of [["--help"], ["save", "--help"]]) {
    const help = (await call(args)).stdout;
    assert(help.split("\n").length <= 60, help);
    assert(!/AWS_ACCESS_KEY_ID|--allow-read/.test(help), help);
  }
});

test("no arguments are answered with help and exit code 2", async () => {
  const { code, stdout, stderr } = await call([]);
  assertEquals([code, stdout], [2, ""]);
  assertEquals(stderr, (await call(["--help"])).stdout);
});

test("list tells a pipe ids, and --plain the line of the Python package", async () => {
  await using store = await cliStore();
  assertEquals(await store.ok(["list"]), "");
  assertEquals(await store.ok(["list", "--plain"]), "No transactions found\n");
  for (const id of ["b", "a"]) await store.ok(["save", "--tx", txText(id)]);
  assertEquals(await store.ok(["list"]), "a\nb\n");
  assertEquals(await store.ok(["list", "--plain"]), "Transactions: a, b\n");
});

test("list shows a terminal the newest in a table of one screen", async () => {
  await using store = await cliStore();
  const shown = async (...args: string[]) => {
    const list = await store.call(["list", ...args], onTerminal);
    assertEquals(list.code, 0, list.stderr);
    const [head, ...rows] = list.stdout.trimEnd().split("\n");
    assertMatch(head!, /^ID +HOLDER +TIME +SIZE$/);
    const ids = rows.map((row) => row.split(" ")[0]);
    return { ids, said: list.stderr };
  };
  const lines = Array.from(
    { length: 200 },
    (_, n) => txText(`tx-${n}`, "", "alice", 1464307123 + n),
  );
  const stdin = lines.join("\n");
  assertEquals((await store.call(["import", "-"], { stdin })).code, 0);
  const { ids, said } = await shown();
  assertEquals(ids.slice(0, 3), ["tx-199", "tx-198", "tx-197"]);
  assert(ids.length < 100, "no more than a screen");
  assertMatch(said, /^There are more: --limit/);
  assertEquals(await shown("--limit=2"), {
    ids: ["tx-199", "tx-198"],
    said: "",
  });
  assertEquals((await shown("--sort=id", "--limit=2")).ids, ["tx-0", "tx-1"]);
  assertEquals((await shown("--reverse", "--limit=1")).ids, ["tx-99"]);
});

test("colours come with --color, and mark headings and errors", async () => {
  await using store = await cliStore();
  await store.ok(["save", "--tx", txText("a")]);
  const listed = await store.ok(["list", "--long", "--color=always"]);
  assert(listed.startsWith("\x1b[1mID "), listed);
  assertStringIncludes(listed, "\x1b[0m\na ");
  const failed = await store.call(["load", "--color", "always", "none"]);
  assertEquals(failed.stderr.startsWith("\x1b[31mpoh-storage:\x1b[0m "), true);
  const refused = await store.call(["--color=pink", "list"]);
  assertEquals(refused.code, 2);
});

test("load --raw does not send a payload to a terminal", async () => {
  await using store = await cliStore();
  await store.ok(["save", "--tx", txText("a")]);
  const raw = await store.call(["load", "a", "--raw"], onTerminal);
  assertEquals([raw.code, raw.stdout], [2, ""]);
  assertStringIncludes(raw.stderr, "--output");
  const piped = await store.ok(["load", "a", "--raw"]);
  const forced = await store.call(["load", "a", "--output", "-"], onTerminal);
  assertEquals([forced.code, forced.stdout], [0, piped]);
});

test("load --output writes a new file, and leaves none of a damaged payload", async () => {
  await using store = await cliStore();
  for (const id of ["a", "bad"]) await store.ok(["save", "--tx", txText(id)]);
  await flipBit(join(store.base, "bad.bin"));
  const file = join(store.base, "..", "payload");
  const args = ["load", "a", "--output", file];
  assertEquals(await store.ok(args), "");
  assertEquals(
    await Deno.readTextFile(file),
    await store.ok(["load", "a", "--raw"]),
  );
  const again = await store.call(args);
  assertEquals(again.code, 2);
  assertStringIncludes(again.stderr, "there already");
  const damaged = await store.call(["load", "bad", "--output", `${file}2`]);
  assertEquals(damaged.code, 4);
  assertEquals(namesIn(store.base, "..").includes("payload2"), false);
});

test("an error under --json is an object that says how the program ends", async () => {
  await using store = await cliStore();
  const errorOf = async (args: string[]) => {
    const { code, stdout, stderr } = await store.call([...args, "--json"]);
    assertEquals(stdout, "");
    const { error } = JSON.parse(stderr);
    assertEquals(error.exit_code, code);
    assert(error.message.length > 10);
    return [error.code, error.hint ?? null];
  };
  assertEquals(await errorOf(["load", "none"]), [
    "UNKNOWN_TX",
    '"poh-storage list" shows what is there',
  ]);
  assertEquals(await errorOf(["lits"]), ["USAGE", "did you mean list?"]);
  assertEquals(await errorOf(["save", "--tx", "{}"]), ["INVALID_TX_ID", null]);
});

test("save warns of a timestamp that looks like milliseconds", async () => {
  await using store = await cliStore();
  const late = txText("a", "", "alice", 1464307123000);
  const { code, stdout, stderr } = await store.call(["save", "--tx", late]);
  assertEquals([code, stdout], [0, "Saved tx a\n"]);
  assertMatch(stderr, /^The timestamp 1464307123000 looks like milliseconds/);
});
