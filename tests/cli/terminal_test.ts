// The program on a real terminal: progress and Ctrl-C.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type CliStore, cliStore, run, txText } from "../cli_helpers.ts";
import { randomBytes, tempDir } from "../helpers.ts";
import { NO_TERMINAL, onTerminal, quoted } from "./terminal.ts";

const TIME_LIMIT = 110_000;
const ERASE = "\r\x1b[K";

function test(name: string, fn: () => Promise<void>): void {
  const ignore = NO_TERMINAL !== null;
  Deno.test({
    name: ignore ? `${name} (skipped: ${NO_TERMINAL})` : name,
    ignore,
    timeout: TIME_LIMIT,
    fn,
  });
}

/** A store's folder with a file of transactions to import. */
async function withTxs(count: number): Promise<CliStore & { file: string }> {
  const store = await cliStore();
  const file = store.dir.join("txs.ndjson");
  const payload = randomBytes(1000);
  await Deno.writeTextFile(
    file,
    Array.from(
      { length: count },
      (_, i) => `${txText(`t${String(i).padStart(6, "0")}`, payload)}\n`,
    ).join(""),
  );
  return { ...store, file };
}

/** What the bar's line showed, one frame after the other; not what scrolled by. */
function framesOf(screen: string): string[] {
  return screen.split(ERASE).slice(1).map((part) => part.split("\r\n")[0]!);
}

for (const columns of [40, 80, 200]) {
  test(`a bar is drawn, redrawn and taken away, ${columns} columns wide`, async () => {
    await using store = await withTxs(3000);
    const cwd = store.dir.path;
    const env: Record<string, string> = columns === 80 ? { NO_COLOR: "1" } : {};
    const { code, screen } = await onTerminal(
      ["import", store.file, "--base", store.base, "--durability=relaxed"],
      { cwd, columns, env },
    );
    assertEquals(code, 0, screen);
    const frames = framesOf(screen);
    const bars = frames.filter((frame) => frame.includes("["));
    assert(new Set(bars).size > 1, screen);
    for (const frame of frames.slice(0, -1)) {
      assert(frame.length < columns, frame);
    }
    const length = Math.max(10, Math.min(columns / 4, 50));
    assertMatch(
      bars[0]!,
      new RegExp(`^import: \\d+% \\[#*-*\\](?<=\\[.{${length}}\\])`),
    );
    if (columns > 40) assertMatch(bars.at(-1)!, /\d+ lines, .* [KM]iB$/);
    const end = "3,000 txs: 3,000 new, 0 unchanged, 0 replaced\r\n";
    assertEquals(screen.endsWith(`${ERASE}${end}`), true, screen);
    // deno-lint-ignore no-control-regex
    assertEquals(/\x1b(?!\[K)/.test(screen), false, "nothing but the bar");
  });
}

test("export and recover draw a bar when only stderr is a terminal", async () => {
  await using store = await withTxs(15_000);
  await store.ok(["import", store.file, "--durability", "relaxed"]);
  for (const args of [["export"], ["verify"], ["recover"]]) {
    const { code, screen } = await onTerminal(
      [...args, "--base", store.base],
      { cwd: store.dir.path, columns: 80 },
      ` > ${quoted(store.dir.join("out"))}`,
    );
    assertEquals(code, 0, screen);
    const [bar] = framesOf(screen).filter((frame) => frame.includes("["));
    assertMatch(bar!, / \d+% \[#*-*\] .*\d+ of 15000 (txs|checked)/);
  }
});

test("a long list goes through the pager, a short one does not", async () => {
  await using store = await withTxs(200);
  await store.ok(["import", store.file, "--durability", "relaxed"]);
  const list = async (pager: string, ...args: string[]) => {
    const permissions = ["--allow-run=cat,head,no-such-pager"];
    const env = { PAGER: pager, NO_COLOR: "1" };
    const { code, screen } = await onTerminal(
      ["list", "--base", store.base, ...args],
      { cwd: store.dir.path, columns: 80, env, permissions },
    );
    assertEquals(code, 0, screen);
    return screen.trimEnd().split("\r\n");
  };
  const paged = await list("cat -n");
  assertMatch(paged[0]!, /^ +1\tID +HOLDER/);
  assertEquals(paged.length, 201);
  assertEquals((await list("head -n 1")).length, 1, "the user left it");
  assertMatch((await list("cat -n", "--limit=3"))[0]!, /^ID/);
  for (const none of ["", "cat", "no-such-pager"]) {
    assertMatch((await list(none)).at(-1)!, /^There are more/, none);
  }
});

test("a terminal has colours unless NO_COLOR is set, a pipe with FORCE_COLOR", async () => {
  await using store = await cliStore();
  const cwd = store.dir.path;
  const args = ["load", "none", "--base", store.base];
  const red = "\x1b[31m";
  for (const NO_COLOR of ["", "1"]) {
    const env = { NO_COLOR };
    const { code, screen } = await onTerminal(args, { cwd, columns: 80, env });
    assertEquals([code, screen.includes(red)], [3, NO_COLOR === ""], screen);
  }
  for (const [FORCE_COLOR, isOn] of [["", false], ["1", true], ["0", false]]) {
    const env = { NO_COLOR: "", FORCE_COLOR: String(FORCE_COLOR) };
    const permissions = [`--allow-read=${cwd}`, "--allow-env"];
    const { stderr } = await run(args, { cwd, env, permissions });
    assertEquals(stderr.includes(red), isOn, stderr);
  }
});

test("every step of the demo ends as it should on a terminal", async () => {
  await using dir = await tempDir();
  const { code, screen } = await onTerminal([], {
    cwd: dir.path,
    columns: 80,
    env: { NO_COLOR: "1", PAGER: "", TMPDIR: dir.path },
    script: "src/cli/demo.ts",
  });
  assertEquals(code, 0, screen);
  assertEquals(/\(expected \d\)/.test(screen), false, screen);
});

test("--quiet draws nothing on a terminal", async () => {
  await using store = await withTxs(300);
  const { code, screen } = await onTerminal(
    ["import", store.file, "--base", store.base, "--quiet", "--progress"],
    { cwd: store.dir.path, columns: 80 },
  );
  assertEquals(
    { code, screen },
    { code: 0, screen: "300 txs: 300 new, 0 unchanged, 0 replaced\r\n" },
  );
});

test("Ctrl-C ends import with 130, and running it again does the rest", async () => {
  await using store = await withTxs(5000);
  const args = ["import", store.file, "--base", store.base];
  const { code, screen } = await onTerminal(args, {
    cwd: store.dir.path,
    columns: 80,
    onShown: once(/ [1-9]\d* lines/, "\x03"),
  });
  assertEquals(code, 130, screen);
  assertMatch(
    screen.replaceAll(ERASE, "\n").replaceAll("\r", ""),
    /\nInterrupted: finishing what has begun; again to stop at once\n/,
  );
  const [, count] =
    / ([\d,]+) new, 0 unchanged, 0 replaced\r\npoh-storage: Interrupted; run it again to go on\r\n$/
      .exec(screen) ?? [];
  const saved = Number(count?.replaceAll(",", ""));
  assert(saved > 0 && saved < 5000, screen);
  const facts = JSON.parse(await store.ok(["info", "--json"]));
  assertEquals(facts.txs, saved);
  assertEquals((await store.call(["verify", "--quiet"])).code, 0);
  const again = await store.call([...args.slice(0, 2), "--durability=relaxed"]);
  const told = (n: number) => n.toLocaleString("en");
  assertEquals([again.code, again.stdout], [
    0,
    `5,000 txs: ${told(5000 - saved)} new, ${
      told(saved)
    } unchanged, 0 replaced\n`,
  ]);
});

test("Ctrl-C ends verify by ids with 130, and it can go on from there", async () => {
  await using store = await withTxs(30_000);
  await store.ok(["import", store.file, "--durability", "relaxed"]);
  const { code, screen } = await onTerminal(
    ["verify", "--base", store.base, "--limit", "30000"],
    {
      cwd: store.dir.path,
      columns: 80,
      onShown: once(/payloads: .* [1-9]\d* of 30000/, "\x03"),
    },
  );
  assertEquals(code, 130, screen);
  const [, checked, after] =
    /Verification interrupted: ([\d,]+) of \1 txs valid\r\npoh-storage: Interrupted; go on with --after "(\w+)"\r\n$/
      .exec(screen) ?? [];
  const count = Number(checked!.replaceAll(",", ""));
  assert(count < 30_000, screen);
  const rest = await store.call(["verify", "--after", after!, "--json"]);
  assertEquals(rest.code, 0);
  assertEquals(JSON.parse(rest.stdout).checked, 30_000 - count);
});

/** Types something once when the screen shows a match. */
function once(shown: RegExp, typed: string) {
  let done = false;
  return (screen: string): string | undefined => {
    if (done || !shown.test(screen)) return;
    done = true;
    return typed;
  };
}
