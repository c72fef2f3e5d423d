import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { join } from "@std/path";
import { commands, optionsOf } from "../../src/cli/table.ts";
import { commonOptions } from "../../src/cli/specs/shared.ts";
import type { CommandName } from "../../src/cli/table.ts";
import { clockTime } from "../../src/format/values.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { listHolders } from "../../src/files/locks.ts";
import { StorageManager } from "../../mod.ts";
import {
  assertFails,
  call,
  type CliStore,
  cliStore,
  command,
  ended,
  errorIn,
  importLine,
  run,
  txText,
} from "../cli_helpers.ts";
import {
  bytes,
  filesBelow,
  flipBit,
  IS_WINDOWS,
  namesIn,
  randomBytes,
  startScript,
  tempDir,
  TIME_LIMIT,
} from "../helpers.ts";

const BLOCK = "../shared/data/btc-block-413567.ndjson";

function test(
  name: string,
  fn: () => Promise<void>,
  options: { ignore?: boolean } = {},
): void {
  Deno.test({ name, timeout: TIME_LIMIT, fn, ...options });
}

// --- the program as a process -----------------------------------------------

test("the program saves, loads, lists, deletes and recovers as a process", async () => {
  await using dir = await tempDir();
  const cwd = dir.path;
  const poh = (...args: string[]) => run(args, { cwd });
  const done = (stdout: string) => ({ code: 0, stdout, stderr: "" });
  const got = async (...args: string[]) => {
    const { code, stdout, stderr } = await poh(...args);
    return { code, stdout, stderr };
  };
  const db = IS_WINDOWS ? "./data\\poh.db" : "./data/poh.db";

  assertEquals(
    await got("init"),
    done(
      `Initialized storage\nPayloads:  ./data\nDatabase:  ${db}\nNext:      poh-storage save --tx-id=first --holder-id=me --payload-file=FILE\n`,
    ),
  );
  assertEquals(await got("list"), done(""));
  assertEquals(await got("save", "--tx", txText("b")), done("Saved tx b\n"));
  assertEquals(await got("save", "--tx", txText("a")), done("Saved tx a\n"));
  assertEquals(await got("list"), done("a\nb\n"));
  assertEquals(await got("load", "--tx-id", "a"), done(`${txText("a")}\n`));
  assertEquals(await got("load", "a", "--raw"), done("payload of a"));
  assertEquals(await got("delete", "--tx-id", "a"), done("Deleted tx a\n"));
  assertFails(
    await poh("load", "a"),
    3,
    'No transaction "a"; "poh-storage list" shows what is there',
  );
  assertFails(
    await poh("delete", "a"),
    3,
    'No transaction "a"; "poh-storage list" shows what is there',
  );
  const recovered = await poh("recover", "--quiet");
  assertEquals(recovered, {
    ...recovered,
    ...done("Recovery complete: 1 valid tx\n"),
  });
  assertFails(await poh("save"), 2, /^save needs --tx/);
});

test("the program reads transactions and payloads from stdin and files as a process", async () => {
  await using dir = await tempDir();
  const cwd = dir.path;
  await Deno.writeTextFile(dir.join("tx.json"), txText("from file"));
  const payload = randomBytes(1024 * 1024, 3);
  await Deno.writeFile(dir.join("payload.bin"), payload);
  await run(["init"], { cwd });

  const piped = await run(["save", "--tx", "-"], {
    cwd,
    stdin: txText("piped"),
  });
  assertEquals(piped.stdout, "Saved tx piped\n");
  const file = await run(["save", "--tx", "@tx.json"], { cwd });
  assertEquals(file.stdout, "Saved tx from file\n");
  const head = ["--tx-id", "large", "--holder-id", "bob", "--timestamp", "-5"];
  const large = await run(
    ["save", ...head, "--payload-file", "payload.bin"],
    { cwd },
  );
  assertEquals(large.stdout, "Saved tx large\n");
  const raw = await run(["load", "large", "--raw"], { cwd });
  assertEquals(raw.output, payload);
  const stdin = await run(
    ["save", ...head, "--payload-file=-", "--json"],
    { cwd, stdin: payload.subarray(0, 300_000) },
  );
  assertEquals(JSON.parse(stdin.stdout).size, 300_000);
  const empty = await run(
    ["save", ...head, "--payload-file", "-"],
    { cwd }, // stdin is closed
  );
  assertEquals(empty.stdout, "Saved tx large\n");
  assertEquals(
    (await run(["load", "large", "--raw"], { cwd })).output.length,
    0,
  );
});

test("a reader that goes away ends the program quietly", async () => {
  await using store = await cliStore();
  await save(
    store,
    ...Array.from({ length: 400 }, (_, i) => txText(`t${i}`, "x".repeat(2000))),
  );
  for (const name of ["export", "list --json", "load t1 --raw"]) {
    const args = [...name.split(" "), "--base", store.base];
    const child = command(args, { cwd: store.dir.path }).spawn();
    await child.stdout.cancel(); // before the program has started to print
    const timer = setTimeout(() => child.kill("SIGKILL"), TIME_LIMIT);
    const stderr = await new Response(child.stderr).text();
    const { code } = await child.status;
    clearTimeout(timer);
    assertEquals({ code, stderr }, { code: 0, stderr: "" }, name);
  }
});

test("a missing permission is one line that names the flag", async () => {
  await using dir = await tempDir();
  const cwd = dir.path;
  const none = await run(["init"], { cwd, permissions: [] });
  assertFails(
    none,
    1,
    "Missing permission; run again with --allow-read=./data --allow-write=./data",
  );
  const parent = await run(["init", "--base", dir.join("new")], {
    cwd,
    permissions: ["read", "write"].map((kind) =>
      `--allow-${kind}=${dir.join("new")}`
    ),
  });
  assertFails(
    parent,
    1,
    `Missing permission; run again with --allow-read=${cwd}`,
  );
  await run(["init"], { cwd });
  await run(["save", "--tx", txText("a")], { cwd });
  const readOnly = { cwd, permissions: [`--allow-read=${cwd}`] };
  const refused = await run(["delete", "a"], readOnly);
  assertFails(
    refused,
    1,
    "Missing permission; run again with --allow-write=./data",
  );
  assertEquals((await run(["list"], readOnly)).stdout, "a\n");
  assertEquals((await run(["verify", "--quiet"], readOnly)).code, 0);
  const elsewhere = await run(["save", "--tx", "@/etc/hostname"], readOnly);
  assertFails(elsewhere, 1, /run again with --allow-read=\/etc\/hostname$/);
});

test("commands need no more permissions than help permissions says", async () => {
  await using dir = await tempDir();
  await using elsewhere = await tempDir();
  const base = dir.join("store"), db = dir.join("meta", "poh.db");
  for (const folder of ["store", "meta"]) await Deno.mkdir(dir.join(folder));
  const where = ["--base", base, "--db", db];
  const options = {
    cwd: elsewhere.path,
    permissions: [
      `--allow-read=${base},${dir.join("meta")}`,
      `--allow-write=${base},${dir.join("meta")}`,
    ],
  };
  for (
    const [args, stdin] of [
      [["init"]],
      [["save", "--tx", txText("a")]],
      [["import"], `${txText("b")}\n`],
      [["load", "a"]],
      [["export", "--quiet"]],
      [["delete", "a"]],
      [["prune", "--before", "0"]],
      [["repack", "--pack-below", "1k", "--quiet"]],
      [["recover", "--quiet"]],
      [["verify", "--quiet"]],
      [["quarantine"]],
      [["info"]],
    ] as [string[], string?][]
  ) {
    const { code, stderr } = await run([...args, ...where], {
      ...options,
      ...(stdin !== undefined && { stdin }),
    });
    assertEquals({ code, stderr }, { code: 0, stderr: "" }, args.join(" "));
  }
});

test("POH_BASE and POH_DB stand in for options, which go first", async () => {
  await using dir = await tempDir();
  const env = { POH_BASE: "from-env", POH_DB: "meta.db" };
  const one = await run(["init"], { cwd: dir.path, env });
  assertMatch(one.stdout, /^Payloads: +from-env\nDatabase: +meta.db$/m);
  const two = await run(["init", "--base", "given", "--db=given.db"], {
    cwd: dir.path,
    env,
  });
  assertMatch(two.stdout, /^Payloads: +given\nDatabase: +given.db$/m);
  assertEquals(namesIn(dir.path), ["from-env", "given", "given.db", "meta.db"]);
});

test("POH_DEBUG=1 adds the stack to an error, else there is one line", async () => {
  await using dir = await tempDir();
  await Deno.writeTextFile(dir.join("file"), "");
  const args = ["init", "--base", "file/below"];
  const quiet = await run(args, { cwd: dir.path });
  assertFails(quiet, 1, /./);
  const loud = await run(args, { cwd: dir.path, env: { POH_DEBUG: "1" } });
  assertEquals(loud.code, 1);
  assertMatch(loud.stderr, /^poh-storage: .*\n.*\n +at /);
});

test(
  "Ctrl-C while input is awaited ends an import with 130, and keeps what came",
  async () => {
    await using store = await cliStore();
    const child = command(["import", "--base", store.base], {
      cwd: store.dir.path,
      stdin: "",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(bytes(`${txText("a")}\n${txText("b")}\n{"tx_id":"cut`));
    await until(() => namesIn(store.base).includes(placeOf("b")));
    child.kill("SIGINT");
    const outcome = await ended(child);
    await writer.abort().catch(() => {});
    assertEquals(outcome.code, 130);
    assertEquals(outcome.stdout, importLine(2));
    assertStringIncludes(
      outcome.stderr,
      "poh-storage: Interrupted; run it again",
    );
    assertEquals(await store.ok(["list"]), "a\nb\n");
  },
  { ignore: IS_WINDOWS },
); // Deno cannot send it there

for (const name of ["recover", "import"]) {
  test(`SIGTERM ends at once a ${name} that waits for a lock`, async () => {
    await using store = await cliStore();
    await store.ok(["init"]);
    const txs = store.dir.join("txs.ndjson");
    await Deno.writeTextFile(txs, `${txText("a")}\n`);
    const args = name === "import" ? [name, txs] : [name];
    const db = join(store.base, "poh.db");
    await using holder = await startScript("hold_lock.ts", [
      store.base,
      db,
      "commit",
    ]);
    const child = command(
      [...args, "--base", store.base, "--lock-timeout", "10m"],
      { cwd: store.dir.path },
    ).spawn();
    await until(() => listHolders(store.base).length === 2);
    const start = performance.now();
    child.kill("SIGTERM");
    const interrupted = await ended(child);
    const took = performance.now() - start;
    assertEquals(interrupted.code, 130, interrupted.stderr);
    assertMatch(interrupted.stderr, /Interrupted while waiting: .*pid \d+/);
    assert(took < 5_000, `${took} ms`);
    const late = await store.call([...args, "--lock-timeout=1s"]);
    assertEquals(late.code, 5);
    assertMatch(late.stderr, new RegExp(`committing .*: pid ${holder.pid}`));
  }, { ignore: IS_WINDOWS });
}

test("Ctrl-C during a streamed save leaves nothing behind", async () => {
  await using store = await cliStore();
  await store.ok(["init"]);
  const before = await filesBelow(store.base);
  const child = command(
    [
      "save",
      "--base",
      store.base,
      "--tx-id=a",
      "--holder-id=b",
      "--payload-file=-",
    ],
    { cwd: store.dir.path, stdin: "" },
  ).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(randomBytes(1000));
  await until(() => namesIn(store.base, ".poh", "staged").length > 0);
  child.kill("SIGTERM");
  const outcome = await ended(child);
  await writer.abort().catch(() => {});
  assertEquals(outcome.code, 130);
  assertMatch(
    outcome.stderr,
    /\npoh-storage: Interrupted; nothing was saved\n$/,
  );
  assertEquals(Object.keys(await filesBelow(store.base)), Object.keys(before));
}, { ignore: IS_WINDOWS });

test("the demo shows a failed disk healed from a backup", async () => {
  await using dir = await tempDir();
  const { code, stdout } = await run([], {
    cwd: dir.path,
    script: "src/cli/demo.ts",
    permissions: ["--allow-read", "--allow-write"],
  });
  assertEquals(code, 0, stdout);
  assertMatch(
    stdout,
    /\$ poh-storage load holding-2026-0004 .*\n\(exit code 4\)/,
  );
  assertMatch(
    stdout,
    /\$ poh-storage recover --from .*\nRecovery complete: 6 valid txs\n/,
  );
  assertStringIncludes(stdout, "payload-corrupt");
  // Its hints are for whoever ran it: from a checkout, by deno task.
  const hints = stdout.slice(stdout.indexOf("What to try next"));
  assertStringIncludes(hints, " task cli init\n");
  assert(!/^ +poh-storage/m.test(hints), hints);
  const folder = /The store was in (\S+)/.exec(stdout)?.[1];
  assert(folder !== undefined);
  assertEquals(namesIn(folder), []);
});

// --- wrong usage ------------------------------------------------------------

test("wrong usage is one line on stderr, exit 2, and nothing is written", async () => {
  const head = ["--tx-id", "a", "--holder-id", "b"];
  const cases: [string[], string | RegExp][] = [
    [["--quiet"], "No command given; see poh-storage --help"],
    [["lst"], 'Unknown command "lst"; did you mean list?'],
    [["xyz"], 'Unknown command "xyz"; see poh-storage --help'],
    [["constructor"], /^Unknown command "constructor"/],
    [["--bas", "x", "list"], "Unknown option --bas; did you mean --base?"],
    [["help", "nope"], /^Unknown command "nope"/],
    [
      ["list", "--lmit", "3"],
      "Unknown option --lmit for list; did you mean --limit?",
    ],
    [
      ["list", "--frobnicate"],
      "Unknown option --frobnicate for list; see poh-storage list --help",
    ],
    [["list", "--toString"], /^Unknown option --toString/],
    [["list", "-x"], /^Unknown option -x/],
    [["list", "--no-json"], /^Unknown option --no-json/],
    [
      ["load", "--tx", "a"],
      "Unknown option --tx for load; did you mean --tx-id?",
    ],
    [["list", "--base"], "Option --base needs a value"],
    [
      ["list", "--base", "--json"],
      "Option --base needs a value; write --base=--json if that is it",
    ],
    [["list", "--base", "a", "--base=b"], "Option --base is given twice"],
    [["list", "--base="], "--base must not be empty"],
    [["list", "--json=yes"], "Option --json takes no value"],
    [["list", "extra"], 'list takes no argument, got "extra"'],
    [["load", "a", "b"], 'load takes no further argument, got "b"'],
    [
      ["load", "a", "--tx-id", "b"],
      "load takes --tx-id or an argument, not both",
    ],
    [["load"], "load needs the id of a transaction"],
    [["load", ""], "tx_id must not be empty"],
    [["delete"], "delete needs the id of a transaction"],
    [["delete", ""], "tx_id must not be empty"],
    [
      ["list", "--driver", "fastest"],
      '--driver must be auto, ffi or builtin, got "fastest"',
    ],
    [
      ["init", "--durability", "none"],
      '--durability must be full or relaxed, got "none"',
    ],
    [
      ["list", "--limit", "0"],
      '--limit must be an integer, 1 or more, got "0"',
    ],
    [["list", "--since", "soon"], /^--since must be UNIX seconds/],
    [["verify", "--sample", "0"], /^--sample must be a share/],
    [
      ["recover", "--orphans", "eat"],
      /^--orphans must be keep, adopt or quarantine/,
    ],
    [
      ["recover", "--only", "ids"],
      "--only is for stores in a bucket or on a server",
    ],
    [
      ["verify", "--findings", "--json"],
      "--findings is JSON already: leave out --json",
    ],
    [
      ["quarantine", "burn"],
      'quarantine "burn" is not known: list, restore or empty',
    ],
    [
      ["quarantine", "list", "x"],
      'quarantine list takes no further argument, got "x"',
    ],
    [
      ["quarantine", "restore"],
      "quarantine restore needs the name of an entry",
    ],
    [["quarantine", "empty"], /confirm it with --yes$/],
    [["save"], "save needs --tx, or --tx-id, --holder-id and --payload-file"],
    [["save", "--tx-id", "a"], "save needs --holder-id"],
    [["save", "--holder-id", "a"], "save needs --tx-id"],
    [["save", ...head], "save needs --payload-file"],
    [["save", ...head, "--tx", "{}"], "save takes --tx or --tx-id, not both"],
    [
      ["save", ...head, "--payload-file", "missing.bin"],
      "Cannot read missing.bin: there is no such file",
    ],
    [
      ["save", ...head, "--payload-file", "."],
      "Cannot read .: it is a directory",
    ],
    [
      ["save", ...head, "--payload-file", "-", "--timestamp", "NaN"],
      /^--timestamp must be UNIX seconds/,
    ],
    [["save", "--tx", "@"], "--tx @ needs the name of a file"],
    [
      ["save", "--tx", "@missing.json"],
      /^Cannot read missing\.json: there is no such file$/,
    ],
    [["import", "missing.ndjson"], /^Cannot read missing\.ndjson/],
  ];
  await using dir = await tempDir();
  const where = ["--base", dir.join("store")];
  for (const [args, message] of cases) {
    const hasBase = args.some((arg) => arg.startsWith("--bas"));
    const all = hasBase || args.length === 0 ? args : [...args, ...where];
    assertFails(await call(all), 2, message);
    assertEquals(namesIn(dir.path), [], args.join(" "));
  }
});

test("a bad transaction is one line on stderr, exit 2, and nothing is written", async () => {
  const cases: [string, string | RegExp][] = [
    ["", /^--tx is not JSON/],
    ["{bad", /^--tx is not JSON/],
    ["[]", /must be a JSON object, got an array/],
    ["null", /must be a JSON object, got null/],
    ['"x"', /must be a JSON object/],
    ["{}", "tx_id is missing"],
    ['{"tx_id":"a"}', "holder_id is missing"],
    [`{"tx_id":"a","holder_id":"b"}`, "timestamp is missing"],
    [`{"tx_id":"a","holder_id":"b","timestamp":1}`, "payload is missing"],
    [txText("a").replace("{", '{"extra":1,'), /"extra" is not a field/],
    [
      txText("a").replace("tx_id", "txid"),
      /^"txid" is not a field of a transaction; did you mean "tx_id"\?/,
    ],
    [txText("a").replace('"a"', "5"), /^tx_id must be text/],
    [txText("a", "", "b").replace('"b"', "null"), /^holder_id must be text/],
    [txText(""), /^tx_id must not be empty/],
    [txText("a\0b"), /^tx_id must not contain NUL/],
    [txText("\ud800"), /^tx_id must not contain an unpaired surrogate/],
    [txText("a", "", "x\0"), /^holder_id must not contain NUL/],
    [txText("x".repeat(4000)), /^tx_id is too long/],
    [
      txText("a", "", "b", '"1464307123"'),
      /^timestamp must be a finite number/,
    ],
    [txText("a", "", "b", "NaN"), /^--tx is not JSON/],
    [txText("a", "", "b", "null"), /^timestamp must be a finite number/],
    [txText("a", "", "b", "1e999"), /^timestamp must be a finite number/],
    [txText("a", "", "b", "true"), /^timestamp must be a finite number/],
    [
      txText("a").replace(/"payload":".*"/, '"payload":5'),
      /^payload must be base64 text/,
    ],
    [
      txText("a").replace(/"payload":".*"/, '"payload":"a"'),
      /^payload must be standard base64/,
    ],
    [
      txText("a").replace(/"payload":".*"/, '"payload":"aGk"'),
      /^payload must be standard base64/,
    ],
    [
      txText("a").replace(/"payload":".*"/, '"payload":"_-8="'),
      /^payload must be standard base64/,
    ],
  ];
  await using store = await cliStore({ make: false });
  for (const [tx, message] of cases) {
    assertFails(await store.call(["save", `--tx=${tx}`]), 2, message);
    const piped = await store.call(["save", "--tx", "-"], { stdin: tx });
    assertEquals(piped.code, 2);
    assertEquals(namesIn(store.dir.path), [], tx);
  }
  const latin = new Uint8Array([0x22, 0xe9, 0x22]);
  assertFails(
    await store.call(["save", "--tx", "-"], { stdin: latin }),
    2,
    "stdin is not UTF-8 text",
  );
  const tooLong = [
    "--tx-id",
    "x".repeat(4000),
    "--holder-id=",
    "--payload-file=-",
  ];
  assertFails(await store.call(["save", ...tooLong]), 2, /^tx_id is too long/);
  assertEquals(namesIn(store.dir.path), []);
});

test("only init, restore and --create make a store: all else ends with 6 and makes nothing", async () => {
  await using store = await cliStore({ make: false });
  await using source = await cliStore();
  const tx = ["--tx-id", "a", "--holder-id", "b", "--payload-file", "-"];
  for (
    const args of [
      ["save", "--tx", txText("a")],
      ["save", ...tx],
      ["load", "a"],
      ["list"],
      ["list", "--json"],
      ["import"],
      ["export"],
      ["verify"],
      ["info"],
      ["delete", "a"],
      ["prune", "--older-than", "30d"],
      ["prune", "--older-than", "30d", "--dry-run"],
      ["repack"],
      ["quarantine"],
      ["quarantine", "restore", "x"],
      ["quarantine", "empty", "--yes"],
      ["recover"],
      ["recover", "--dry-run"],
      ["recover", "--rebuild"],
      ["recover", "--orphans", "quarantine", "--purge"],
      ["backup", store.dir.join("backup")],
      ["serve", "--port", "0"],
    ]
  ) {
    assertFails(
      await store.call(args),
      6,
      `There is no store at ${store.base}; "poh-storage init" makes one`,
    );
    assertEquals(namesIn(store.dir.path), [], args.join(" "));
  }
  assertFails(
    await source.call(["migrate", "--to-base", store.base]),
    6,
    /^There is no store at /,
  );
  assertEquals(namesIn(store.dir.path), []);
  // A folder without a store is no store, and stays as it is.
  await Deno.mkdir(store.base);
  for (const args of [["recover"], ["save", "--tx", txText("a")], ["list"]]) {
    assertFails(await store.call(args), 6, /^There is no store at /);
    assertEquals(namesIn(store.base), [], args.join(" "));
  }
});

test("import --create, recover --create and restore make a store", async () => {
  for (const command of ["import", "recover"]) {
    await using store = await cliStore({ make: false });
    const made = await store.call([command, "--create"], {
      stdin: command === "import" ? `${txText("a")}\n` : "",
    });
    assertEquals(made.code, 0, made.stderr);
    assertEquals((await store.call(["list"])).code, 0);
    // And use the one that is there, the second time.
    assertEquals((await store.call([command, "--create"])).code, 0);
  }
  await using source = await cliStore();
  await source.ok(["save", "--tx", txText("a")]);
  const backup = source.dir.join("backup");
  assertEquals((await source.call(["backup", backup])).code, 0);
  await using target = await cliStore({ make: false });
  assertEquals((await target.call(["restore", backup])).code, 0);
  assertEquals(await target.ok(["list"]), "a\n");
});

test("init on a store says that there is one, and changes nothing", async () => {
  await using store = await cliStore();
  await store.ok(["save", "--tx", txText("a")]);
  const before = await filesBelow(store.base);
  const db = join(store.base, "poh.db");
  assertEquals(
    await store.ok(["init"]),
    `There is a store already\nPayloads:  ${store.base}\nDatabase:  ${db}\n`,
  );
  assertEquals(JSON.parse(await store.ok(["init", "--json"])), {
    base: store.base,
    db,
    created: false,
    write_once: false,
  });
  assertEquals(await filesBelow(store.base), before);
});

// --- the wrong database -----------------------------------------------------

/** Runs commands that must refuse, and change nothing below a folder. */
async function refusesAll(
  store: CliStore,
  db: string,
  code: number,
  message: RegExp,
): Promise<void> {
  const before = await filesBelow(store.dir.path);
  const line = txText("a", "something else");
  for (
    const [args, stdin] of [
      [["init"]],
      [["save", "--tx", line]],
      [["import"], `${line}\n`],
      [["import", "--create"], `${line}\n`],
      [["load", "a"]],
      [["list"]],
      [["delete", "a"]],
      [["verify"]],
      [["info"]],
      [["backup", store.dir.join("backup")]],
      [["recover"]],
      [["recover", "--create"]],
      [["recover", "--dry-run"]],
      [["recover", "--orphans", "adopt"]],
      [["recover", "--orphans", "quarantine", "--purge"]],
    ] as [string[], string?][]
  ) {
    const outcome = await store.call([...args, "--db", db], {
      ...(stdin !== undefined && { stdin }),
    });
    assertEquals(
      [outcome.code, outcome.stdout],
      [code, args[0] === "import" ? outcome.stdout : ""],
      `${args.join(" ")}: ${outcome.stderr}`,
    );
    assertMatch(outcome.stderr, message, args.join(" "));
    assert(!outcome.stderr.includes("empty store"), outcome.stderr);
    assertEquals(await filesBelow(store.dir.path), before, args.join(" "));
  }
  for (const create of [[], ["--create"]]) {
    const args = ["serve", "--port", "0", "--db", db, ...create];
    const outcome = await store.call(args);
    assertEquals([outcome.code, outcome.stdout], [code, ""], outcome.stderr);
    assertMatch(outcome.stderr, message);
    assert(!outcome.stderr.includes("empty store"), outcome.stderr);
  }
  assertEquals(await filesBelow(store.dir.path), before);
}

test("a mistyped --db is refused by every command, which names the right one", async () => {
  await using store = await cliStore();
  await store.ok(["save", "--tx", txText("a")]);
  const db = join(store.base, "pho.db");
  const own = join(store.base, "poh.db");
  const message = new RegExp(
    `${RegExp.escape(db)} is not the database of .*: that is ${
      RegExp.escape(own)
    }`,
  );
  await refusesAll(store, db, 1, message);
  const rebuilt = await store.call(["recover", "--rebuild", "--db", db]);
  assertFails(rebuilt, 1, message);
  const serve = await store.call(["serve", "--create", "--port=0", "--db", db]);
  assertFails(serve, 1, message); // before it listens
  assertEquals(await store.ok(["load", "a"]), `${txText("a")}\n`);
});

test("a lost database is no empty store: recover --rebuild is the only way", async () => {
  await using store = await cliStore();
  await store.ok(["save", "--tx", txText("a")]);
  const db = join(store.base, "poh.db");
  for (const lose of [Deno.remove, (path: string) => Deno.truncate(path)]) {
    await lose(db);
    await refusesAll(store, db, 1, /has a store: .*"recover --rebuild" makes/);
    const rebuilt = await store.call(["recover", "--rebuild"]);
    assertEquals([rebuilt.code, rebuilt.stdout], [
      0,
      "Recovery complete: 1 valid tx\n",
    ]);
    assertEquals(
      JSON.parse(await store.ok(["load", "a"])).payload,
      bytes("payload of a").toBase64(),
    );
  }
});

test("a base with payloads and without .poh gets no new database", async () => {
  await using store = await cliStore({ make: false });
  await Deno.mkdir(store.base);
  await Deno.writeTextFile(join(store.base, placeOf("a")), "payload of a");
  const db = join(store.base, "poh.db");
  await refusesAll(store, db, 1, /has a store: .*"recover --rebuild" makes/);
});

test("another file is not a database, and that is no damage", async () => {
  await using store = await cliStore();
  await store.ok(["save", "--tx", txText("a")]);
  const file = store.dir.join("passwd");
  await Deno.writeTextFile(file, "root:x:0:0:root:/root:/bin/sh\n".repeat(50));
  await refusesAll(store, file, 1, /passwd is not a database/);
  await refusesAll(store, store.dir.path, 1, /cannot be opened: .* directory/);
  for (const args of [["recover", "--rebuild"], ["init"]]) {
    const outcome = await store.call([...args, "--db", file]);
    assertFails(outcome, 1, /passwd is not a database/);
  }
  await using none = await cliStore({ make: false });
  const init = await none.call(["init", "--db", file]);
  assertFails(init, 1, /passwd is not a database/);
  assertEquals(namesIn(none.dir.path), []);
});

test("a database elsewhere whose first page is gone is still known as damaged", async () => {
  await using store = await cliStore({ make: false });
  const db = store.dir.join("meta.db");
  await store.ok(["init", "--db", db]);
  await store.ok(["save", "--db", db, "--tx", txText("a")]);
  const content = await Deno.readFile(db);
  content.fill(0, 0, 4096);
  await Deno.writeFile(db, content);
  assertFails(await store.call(["list", "--db", db]), 4, /is damaged/);
  const rebuilt = await store.call(["recover", "--rebuild", "--db", db]);
  assertEquals(rebuilt.stdout, "Recovery complete: 1 valid tx\n");
});

// --- help and version -------------------------------------------------------

test("--help describes the program and every command", async () => {
  const program = await call(["--help"]);
  assertEquals({ code: program.code, stderr: program.stderr }, {
    code: 0,
    stderr: "",
  });
  for (const name of Object.keys(commands) as CommandName[]) {
    assertMatch(program.stdout, new RegExp(`^  ${name} `, "m"));
    const help = await call([name, "--help"]);
    assertEquals({ code: help.code, stderr: help.stderr }, {
      code: 0,
      stderr: "",
    });
    assertStringIncludes(help.stdout, `poh-storage ${name}`);
    for (const option of Object.keys(optionsOf(name))) {
      const isCommon = Object.hasOwn(commonOptions, option);
      assertMatch(
        isCommon ? program.stdout : help.stdout,
        new RegExp(`^  --${option}\\b`, "m"),
      );
      assert(!isCommon || !help.stdout.includes(`  --${option} `), option);
    }
    for (const part of ["Examples:", "help exit-codes", "--help"]) {
      assertStringIncludes(help.stdout, part);
    }
    const prose = help.stdout.replace(
      /^(Usage|Examples):\n( {2}.*\n)+/gm,
      "",
    );
    for (const line of prose.split("\n")) assert(line.length <= 80, line);
    assertEquals((await call(["help", name])).stdout, help.stdout);
    assertEquals((await call([name, "-h"])).stdout, help.stdout);
    assertEquals((await call([name, "--bogus", "--help"])).stdout, help.stdout);
  }
  assertEquals((await call(["help"])).stdout, program.stdout);
  assertEquals((await call(["-h"])).stdout, program.stdout);
});

test("--version prints the versions of the program and Deno, with --json also SQLite's", async () => {
  for (const args of [["--version"], ["-V"], ["list", "--version"]]) {
    const { code, stdout } = await call(args);
    assertEquals(code, 0);
    assertMatch(
      stdout,
      /^poh-storage \d+\.\d+\.\d+( \(commit [0-9a-f]{10}\))?\nDeno 2\..+\n$/,
    );
  }
  const { version, driver } = JSON.parse(
    (await call(["--version", "--json"])).stdout,
  );
  assertMatch(version, /^\d+\.\d+\.\d+$/);
  assertMatch(driver.sqlite_version, /^3\./);
});

// --- arguments --------------------------------------------------------------

test("options may stand before the command and be written either way", async () => {
  await using store = await cliStore();
  const { base } = store;
  assertEquals((await call(["--base", base, "init"])).code, 0);
  assertEquals(
    (await call([`--base=${base}`, "save", "--tx", txText("007")])).code,
    0,
  );
  assertEquals(
    (await call(["--json", "list", "--base", base])).stdout.length > 50,
    true,
  );
  assertEquals(
    (await call(["load", "007", "--base", base])).stdout,
    `${txText("007")}\n`,
  );
  const short = await call(["load", "--base", base, "--raw", "--", "007"]);
  assertEquals(short.stdout, "payload of 007");
});

test("an id that begins with a hyphen can be named", async () => {
  await using store = await cliStore();
  const ids = ["-x", "--base", "-", "--", "-5"];
  for (const txId of ids) {
    const [payload, args] = ["--payload-file=-", [
      `--tx-id=${txId}`,
      "--holder-id",
      "-h",
    ]];
    const saved = await store.call(["save", ...args, payload], { stdin: txId });
    assertEquals(saved.stdout, `Saved tx ${txId}\n`);
    assertEquals(await store.ok(["load", "--raw", `--tx-id=${txId}`]), txId);
    assertEquals(await store.ok(["load", "--raw", "--", txId]), txId);
  }
  assertEquals(await store.ok(["load", "--raw", "--tx-id", "-x"]), "-x");
  assertEquals(await store.ok(["load", "--raw", "-"]), "-");
  assertEquals((await store.call(["delete", "--", "--base"])).code, 0);
  assertEquals(
    await store.ok(["list", "--holder=-h"]),
    "-\n--\n-5\n-x\n",
  );
});

test("ids of every kind come back as they were", async () => {
  await using store = await cliStore();
  const ids = [
    "../x",
    "a/b",
    "a\\b",
    "CON",
    "con",
    "A",
    "a",
    ".hidden",
    "..",
    ".",
    "取引-一",
    "🍣🍺",
    "é",
    "e\u0301",
    "a b\tc",
    "line\nbreak",
    "\x1b[31mred",
    "100%",
    'quo"te',
    "x".repeat(200),
    "txs.bin",
    "poh.db",
  ];
  const lines = ids.map((txId) => `${txText(txId)}\n`);
  assertEquals(
    await store.ok(["import"], { stdin: lines.join("") }),
    importLine(ids.length),
  );
  for (const [i, txId] of ids.entries()) {
    assertEquals(await store.ok(["load", `--tx-id=${txId}`]), lines[i]);
  }
  const listed = (await store.ok(["list", "--json"])).trimEnd().split("\n");
  assertEquals(
    new Set(listed.map((line) => JSON.parse(line).tx_id)),
    new Set(ids),
  );
  assertEquals(namesIn(store.dir.path), ["store"]);
  assertEquals((await store.call(["verify", "--quiet"])).code, 0);
  for (const txId of ids) {
    assertEquals((await store.call(["delete", `--tx-id=${txId}`])).code, 0);
  }
  assertEquals(await store.ok(["list"]), "");
});

test("what people read has no control characters of an id in it", async () => {
  await using store = await cliStore();
  const txId = "a\n\x1b[2Jb\x9bc";
  const shown = "a\\u{a}\\u{1b}[2Jb\\u{9b}c";
  assertEquals(
    await store.ok(["save", "--tx", txText(txId)]),
    `Saved tx ${shown}\n`,
  );
  assertEquals(await store.ok(["list"]), `${shown}\n`);
  await flipBit(join(store.base, placeOf(txId)));
  const printed = [
    await store.call(["load", txId]),
    await store.call(["verify"]),
    await store.call(["recover"]),
    await store.call(["quarantine"]),
    await store.call(["load", txId]),
    await store.call(["list", txId]),
  ].map(({ stdout, stderr }) => stdout + stderr).join("");
  // deno-lint-ignore no-control-regex
  assertEquals(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.exec(printed), null);
});

// --- values -----------------------------------------------------------------

test("timestamps come back exactly, as floats", async () => {
  await using store = await cliStore();
  for (
    const [written, printed] of [
      ["0.0", "0.0"],
      ["0", "0.0"],
      ["-1464307123.75", "-1464307123.75"],
      ["1e308", "1e+308"],
      ["0.1", "0.1"],
      ["1464307123.000001", "1464307123.000001"],
      ["5e-324", "5e-324"],
      ["9007199254740993", "9007199254740992.0"],
    ] as const
  ) {
    await store.ok(["save", "--quiet", "--tx", txText("a", "", "b", written)]);
    assertEquals(
      await store.ok(["load", "a"]),
      `${txText("a", "", "b", printed)}\n`,
    );
    const [info] = (await store.ok(["list", "--json"])).split("\n");
    assertStringIncludes(info!, `"timestamp":${printed},`);
  }
});

test("payloads of no byte, one byte, random bytes and 1 MiB come back as they were", async () => {
  await using store = await cliStore();
  for (const size of [0, 1, 2, 3, 1000, 1024 * 1024]) {
    const payload = randomBytes(size, size);
    const stdin = txText("a", payload);
    await store.ok(["save", "--quiet", "--tx", "-"], { stdin });
    assertEquals((await store.call(["load", "a", "--raw"])).output, payload);
    assertEquals(await store.ok(["load", "a"]), `${txText("a", payload)}\n`);
    const options = [
      "--tx-id=b",
      "--holder-id=",
      "--payload-file=-",
      "--quiet",
    ];
    await store.ok(["save", ...options], { stdin: payload });
    assertEquals((await store.call(["load", "b", "--raw"])).output, payload);
  }
});

test("a payload that is larger than what is held in memory comes back as it was", async () => {
  await using store = await cliStore();
  const payload = randomBytes(9 * 1024 * 1024 + 1);
  const options = [
    "--tx-id=a",
    "--holder-id=b",
    "--timestamp=1.5",
    "--payload-file=-",
  ];
  await store.ok(["save", ...options], { stdin: payload });
  const line = `${txText("a", payload, "b", "1.5")}\n`;
  assertEquals((await store.ok(["load", "a"])) === line, true);
  const exported = await store.call(["export"]);
  assertEquals(exported.stdout === line, true);
  await using copy = await cliStore();
  assertEquals(
    await copy.ok(["import"], { stdin: exported.output }),
    importLine(1),
  );
  assertEquals((await copy.ok(["export", "--quiet"])) === line, true);
  await flipBit(join(store.base, placeOf("a")), 5_000_000);
  const damaged = await store.call(["export", "--quiet"]);
  assertEquals({ code: damaged.code, stdout: damaged.stdout }, {
    code: 4,
    stdout: "",
  });
  assertEquals((await store.call(["load", "a"])).code, 4);
});

test("save takes the time of now unless it is told one", async () => {
  await using store = await cliStore();
  const before = Date.now() / 1000;
  const options = ["--tx-id=a", "--holder-id=b", "--payload-file=-", "--json"];
  const { timestamp } = JSON.parse(await store.ok(["save", ...options]));
  assert(timestamp >= before && timestamp <= Date.now() / 1000);
  const iso = ["--timestamp", "2016-05-26T23:58:43Z"];
  const saved = await store.ok(["save", ...options, ...iso]);
  assertStringIncludes(saved, '"timestamp":1464307123.0,');
});

test("saving an id again replaces its transaction", async () => {
  await using store = await cliStore();
  await save(store, txText("a", "one"));
  assertEquals(
    await store.ok(["import"], { stdin: txText("a", "two") }),
    "1 tx: 0 new, 0 unchanged, 1 replaced\n",
  );
  assertEquals(await store.ok(["load", "a", "--raw"]), "two");
  const third = await store.call(["save", "--tx", txText("a", "three")]);
  assertEquals(third.stdout, "Saved tx a\n");
  assertEquals(third.stderr, "It has replaced another tx of that id\n");
  assertEquals(await store.ok(["load", "a", "--raw"]), "three");
  assertEquals(await store.ok(["list"]), "a\n");
});

test("--json prints one object for each result", async () => {
  await using store = await cliStore({ make: false });
  const db = join(store.base, "poh.db");
  const json = async (...args: string[]) =>
    JSON.parse(await store.ok([...args, "--json"]));
  assertEquals(await json("init"), {
    base: store.base,
    db,
    created: true,
    write_once: false,
  });
  const { outcome, saved, ...info } = await json(
    "save",
    "--tx",
    txText("a", "abc"),
  );
  assertEquals([outcome, saved], ["created", true]);
  assertEquals(info, {
    tx_id: "a",
    holder_id: "alice",
    timestamp: 1464307123.25,
    storage_hash:
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    size: 3,
  });
  assertEquals(await json("list"), info);
  assertEquals(await json("load", "a"), JSON.parse(txText("a", "abc")));
  const imported = await store.ok(["import", "--json"], {
    stdin: `${txText("b")}\n`,
  });
  assertEquals(JSON.parse(imported), {
    txs: 1,
    created: 1,
    replaced: 0,
    unchanged: 0,
    kept: 0,
    bad: 0,
    interrupted: false,
  });
  assertEquals(
    await json("export", "--holder=alice", "--limit=1", "--quiet"),
    JSON.parse(txText("a", "abc")),
  );
  assertEquals(await json("delete", "b"), { tx_id: "b", deleted: true });
  const { driver, hints, log, ...facts } = await json("info");
  assertMatch(driver.sqlite_version, /^3\./);
  assert(Array.isArray(hints));
  assertEquals([log.alive, log.dead], [0, 0]);
  assertEquals(facts, {
    base: store.base,
    db,
    schema_version: 7,
    pack_below: 0,
    write_once: false,
    txs: 1,
    bytes: 3,
    unknown_sizes: 0,
    holders: { count: 1, top: [{ holder_id: "alice", txs: 1 }] },
    lock_holders: [],
    pending: 0,
    quarantined: 0,
    oldest: 1464307123.25,
    sizes: [{ up_to: 64, txs: 1 }],
    days: [{ day: "2016-05-26", txs: 1 }],
    newest: 1464307123.25,
    durability: "full",
  });
  assertEquals((await json("verify")).sound, 1);
  assertEquals((await json("recover")).sound, 1);
  assertEquals(await store.ok(["quarantine", "--json"]), "");
  assertEquals(await json("quarantine", "empty", "--yes"), { deleted: 0 });
});

test("durability and driver can be chosen", async () => {
  await using store = await cliStore();
  await store.ok(["init", "--durability", "relaxed", "--driver", "builtin"]);
  await store.ok(["save", "--durability=relaxed", "--tx", txText("a")]);
  await store.ok(["save", "--durability=full", "--tx", txText("b")]);
  const { driver } = JSON.parse(
    await store.ok(["info", "--json", "--driver=builtin"]),
  );
  assertEquals(driver.name, "builtin");
  assertStringIncludes(
    await store.ok(["info", "--driver=builtin"]),
    "Transactions: 2\n",
  );
  await store.ok(["delete", "a", "--durability=relaxed"]);
});

// --- info -------------------------------------------------------------------

test("info tells holders, writers and hints, and changes nothing", async () => {
  await using store = await cliStore();
  await save(
    store,
    ...Array.from({ length: 12 }, (_, n) => txText(`a${n}`, "", `h${n}`)),
    txText("b", "x", "h3", Date.now()), // in milliseconds, by mistake
    txText("c", "", "\x1b[2J"),
  );
  const before = await filesBelow(store.base);
  const told = await store.ok(["info"]);
  assertMatch(told, /^Holders: {6}13\n {14}h3: 2\n( {14}.*\n){9} {14}…\n/m);
  assertMatch(told, /^ {14}\\u\{1b\}\[2J: 1$/m);
  assertMatch(told, /^Open by: {6}no writer$/m);
  assertMatch(told, /^Hint: .* in the future: they look like milliseconds/m);
  const { hints } = JSON.parse(await store.ok(["info", "--json"]));
  assert(hints.some(({ code }: { code: string }) => code === "clock"));
  assertEquals(await filesBelow(store.base), before);

  await using writer = await StorageManager.create(
    store.base,
    join(store.base, "poh.db"),
  );
  await writer.hasTx("b");
  const beside = JSON.parse(await store.ok(["info", "--json"]));
  assertEquals(beside.lock_holders[0].pid, Deno.pid);
  assertMatch(
    await store.ok(["info"]),
    new RegExp(`^Open by: {6}pid ${Deno.pid} `, "m"),
  );
});

// --- prune ------------------------------------------------------------------

test("prune deletes what it is told, and nothing without being told", async () => {
  await using store = await cliStore();
  const now = Date.now() / 1000;
  await save(
    store,
    txText("old", "x".repeat(2000), "alice", now - 3 * 86_400),
    txText("older", "xy", "bob", 100),
    txText("young", "", "alice", now - 3600),
  );
  for (
    const [args, message] of [
      [[], /^prune needs a condition, such as --older-than 30d/],
      [["--limit", "5"], /^prune needs a condition/],
      [["--prefix="], /^prune needs a condition/],
      [["--min-size=0"], /^prune needs a condition/],
      [["--since=0"], /^prune --since needs another condition/],
      [["--holder="], "--holder must not be empty"],
      [["--dry-run"], /^prune needs a condition/],
      [["--older-than", "2016-01-01"], /^--older-than must be an age/],
      [["--older-than", "-1d"], /^--older-than must be an age/],
      [["--older-than=1d", "--before=5"], /--older-than or --before, not both/],
      [["--after=a"], /^Unknown option --after for prune/],
    ] as [string[], RegExp][]
  ) assertFails(await store.call(["prune", ...args]), 2, message);
  const before = await filesBelow(store.base);
  assertEquals(
    await store.ok(["prune", "--older-than", "2d", "--dry-run"]),
    "Would prune 2 txs (2.0 KiB)\n",
  );
  assertEquals(await filesBelow(store.base), before);
  assertEquals(
    JSON.parse(
      await store.ok(["prune", "--older-than=2d", "--limit=1", "--json"]),
    ),
    { dry_run: false, deleted: 1, bytes: 2, changed: 0, interrupted: false },
  );
  assertEquals(await store.ok(["list"]), "old\nyoung\n");
  assertEquals(
    await store.ok(["prune", "--holder", "alice", "--before", "2h"]),
    "Pruned 1 tx (2.0 KiB)\n",
  );
  assertEquals(
    await store.ok(["prune", "--holder", "bob"]),
    "Pruned 0 txs (0 bytes)\n",
  );
  assertEquals(await store.ok(["list"]), "young\n");
  assertEquals(namesIn(store.base).filter((name) => name.endsWith(".bin")), [
    "young.bin",
  ]);
});

test("prune can be interrupted and says so", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  const { code, stdout, stderr } = await store.call(
    ["prune", "--holder=alice", "--json"],
    { signal: AbortSignal.abort() },
  );
  assertEquals(code, 130);
  assertEquals(JSON.parse(stdout).interrupted, true);
  assertMatch(errorIn(stderr), /^Interrupted; what was deleted stays so/);
  assertEquals(await store.ok(["list"]), "a\nb\n");
});

// --- list -------------------------------------------------------------------

test("list filters by holder, prefix and time, and pages", async () => {
  await using store = await cliStore();
  const now = Date.now() / 1000;
  await save(
    store,
    txText("a1", "", "alice", 100),
    txText("a2", "", "bob", 200.5),
    txText("b1", "", "alice", 300),
    txText("b2", "", "", now),
  );
  const list = async (...args: string[]) =>
    (await store.ok(["list", ...args])).trimEnd();
  assertEquals(await list("--holder", "alice"), "a1\nb1");
  assertEquals(await list("--holder="), "b2");
  assertEquals(await list("--prefix", "a"), "a1\na2");
  assertEquals(await list("--since", "200.5"), "a2\nb1\nb2");
  assertEquals(await list("--before", "200.5"), "a1");
  assertEquals(await list("--since", "1h"), "b2");
  assertEquals(
    await list("--before", "1970-01-01T00:05:00Z"),
    "a1\na2",
  );
  assertEquals(await list("--limit", "2"), "a1\na2");
  assertEquals(
    await list("--limit=2", "--after", "a2"),
    "b1\nb2",
  );
  assertEquals(await list("--after", "b2"), "");
  assertEquals(await list("--after", "b2", "--json"), "");
  assertEquals(
    await list("--holder=alice", "--prefix=b", "--since=250", "--before=301"),
    "b1",
  );
  const exported = await store.call([
    "export",
    "--holder",
    "alice",
    "--after=a1",
  ]);
  assertEquals(exported.stdout, `${txText("b1", "", "alice", "300.0")}\n`);
});

test("list filters by size, and sorts by id or time, either way", async () => {
  await using store = await cliStore();
  await save(
    store,
    txText("a", "x".repeat(2048), "alice", 300),
    txText("b", "", "bob", 100),
    txText("c", "x".repeat(1500), "alice", 200),
  );
  for (
    const [args, ids] of [
      ["--min-size 1501", "a"],
      ["--min-size=1.4k --max-size 2KiB", "a, c"],
      ["--max-size 0", "b"],
      ["--sort id --reverse", "c, b, a"],
      ["--sort time", "b, c, a"],
      ["--sort=time --reverse --limit 2", "a, c"],
      ["--sort=time --reverse --limit 2 --after c", "b"],
      ["--reverse --after c", "b, a"],
      ["--sort=time --holder alice --after b", "c, a"],
    ] as const
  ) {
    assertEquals(
      await store.ok(["list", "--plain", ...args.split(" ")]),
      `Transactions: ${ids}\n`,
      args,
    );
  }
  const exported = await store.call(["export", "--max-size=100"]);
  assertEquals(JSON.parse(exported.stdout).tx_id, "b");
  const json = await store.ok(["list", "--json", "--sort=time", "--reverse"]);
  assertEquals(
    json.trimEnd().split("\n").map((line) => JSON.parse(line).tx_id),
    ["a", "c", "b"],
  );
});

test("list --sort time says when the transaction to go on after is gone", async () => {
  await using store = await cliStore();
  await save(store, txText("a"));
  assertFails(
    await store.call(["list", "--sort", "time", "--after", "b"]),
    3,
    'There is no tx "b" whose time tells where to go on; --since with the time of the last one does',
  );
  assertEquals(
    await store.ok(["list", "--after", "b"]),
    "",
  );
});

test("list --long prints a table, aligned as people see it", async () => {
  await using store = await cliStore();
  await store.ok(["init"]);
  assertEquals(await store.ok(["list", "--long"]), "No transactions found\n");
  await save(
    store,
    txText("取引", "x".repeat(1000), "alice", 1464307123.25),
    txText("b\x1b", "", "", 1e300),
  );
  const clock = clockTime(1464307123.25);
  assertMatch(clock, /^2016-05-2\d \d\d:\d8:43$/);
  assertEquals(
    await store.ok(["list", "--long"]),
    [
      `ID       HOLDER  ${"TIME".padEnd(clock.length)}        SIZE`,
      `b\\u{1b}          ${"1e+300 s".padEnd(clock.length)}     0 bytes`,
      `取引     alice   ${clock}  1000 bytes`,
      "",
    ].join("\n"),
  );
  for (const args of [["--long", "--json"], ["--json", "--plain"]]) {
    assertFails(
      await store.call(["list", ...args]),
      2,
      `list takes ${args.join(" or ")}, not both`,
    );
  }
});

// --- import and export ------------------------------------------------------

test("export prints what import read, ordered by id", async () => {
  await using store = await cliStore();
  const lines = Array.from(
    { length: 300 },
    (_, i) => `${txText(`t${i}`, randomBytes(i, i), `h${i % 7}`, `${i}.5`)}\n`,
  );
  const file = store.dir.join("in.ndjson");
  await Deno.writeTextFile(file, lines.join(""));
  assertEquals(await store.ok(["import", file]), importLine(300));
  const { code, stdout, stderr } = await store.call(["export"]);
  assertEquals({ code, stderr }, { code: 0, stderr: "Exported 300 txs\n" });
  assertEquals(stdout, lines.toSorted().join(""));
  assertEquals(await store.ok(["export", "--quiet"]), stdout);
  assertEquals(
    await store.ok(["import", "-"], { stdin: stdout }),
    importLine(0, 300),
  );
});

test("import takes blank lines, CRLF, a byte order mark and a last line without an end", async () => {
  await using store = await cliStore();
  const stdin = `\ufeff${txText("a")}\r\n\n   \n${txText("b")}\r\n${
    txText("c")
  }`;
  assertEquals(await store.ok(["import"], { stdin }), importLine(3));
  assertEquals(await store.ok(["list"]), "a\nb\nc\n");
  assertEquals(await store.ok(["import"]), importLine(0));
});

test("import stops at the first bad line and says which and why", async () => {
  await using store = await cliStore();
  const bad = txText("c").replace(/"payload":".*"/, '"payload":"?"');
  const stdin = [txText("a"), "", txText("b"), bad, txText("d")].join("\n");
  const stopped = await store.call(["import"], { stdin });
  assertEquals(stopped, {
    ...stopped,
    code: 2,
    stdout: importLine(2),
    stderr:
      "poh-storage: line 4: payload must be standard base64 with padding; import stopped, what stands before it is saved\n",
  });
  assertEquals(await store.ok(["list"]), "a\nb\n");
});

test("import --skip-bad reports bad lines and goes on", async () => {
  await using store = await cliStore();
  const stdin = [
    "not json",
    txText("a"),
    txText("x".repeat(300)),
    "[]",
    txText("b"),
    '{"tx_id":"\xff"',
  ].join("\n");
  const skipped = await store.call(["import", "--skip-bad"], { stdin });
  assertEquals(skipped.code, 2);
  assertEquals(skipped.stdout, importLine(2));
  const told = skipped.stderr.trimEnd().split("\n");
  assertEquals(told.length, 5);
  for (const [i, number] of [1, 3, 4, 6].entries()) {
    assertMatch(told[i]!, new RegExp(`^poh-storage: line ${number}: .+`));
  }
  assertEquals(told[4], "poh-storage: 4 bad lines were skipped");
  const json = await store.call(["import", "--skip-bad", "--json"], { stdin });
  assertEquals(JSON.parse(json.stdout), {
    txs: 2,
    created: 0,
    replaced: 0,
    unchanged: 2,
    kept: 0,
    bad: 4,
    interrupted: false,
  });
});

test("import of input that is bad from the start makes no store", async () => {
  await using store = await cliStore({ make: false });
  for (const stdin of ["x\n", new Uint8Array([0xff, 0xfe, 0x7b, 0])]) {
    const { code, stdout } = await store.call(["import", "--create"], {
      stdin,
    });
    assertEquals({ code, stdout }, { code: 2, stdout: importLine(0) });
  }
  assertEquals(namesIn(store.dir.path), []);
});

test("import refuses what is wrong with a long line, and takes the next", async () => {
  await using store = await cliStore();
  const payload = randomBytes(7 * 1024 * 1024);
  const good = txText("long", payload);
  const middle = 8_500_000; // within the part that comes in pieces
  const bad = [
    good.slice(0, middle) + "?" + good.slice(middle + 1),
    good.slice(0, -2), // cut before its end
    good.slice(0, -1) + "x",
    good.slice(0, middle) + "=" + good.slice(middle + 1),
    `{"payload":"${payload.toBase64()}","tx_id":"a","holder_id":"","timestamp":0}`,
    good.replace('"long"', '""'),
    good.replace('"holder_id"', '"holder":"x","holder_id"'),
    good.replace('"payload"', '"payloads"'),
    good.replace('"payload"', `"payload":1,"payload"`),
    `{"holder_id":"${'\\\\"'.repeat(5_000_000)}`,
  ];
  const stdin = [good, ...bad, txText("short"), `${good.slice(0, -1)} } `]
    .join("\n");
  const outcome = await store.call(["import", "--skip-bad"], { stdin });
  assertEquals(outcome.code, 2);
  assertEquals(outcome.stdout, importLine(2, 1));
  const told = outcome.stderr.trimEnd().split("\n");
  assertEquals(told.pop(), "poh-storage: 10 bad lines were skipped");
  for (const [i, line] of told.entries()) {
    assertMatch(line, new RegExp(`^poh-storage: line ${i + 2}: `));
  }
  assertMatch(told[4]!, /: payload must be its last field, and begin within/);
  assertMatch(told[6]!, /: "holder" is not a field .* mean "holder_id"\?$/);
  assertMatch(told[7]!, /: "payloads" is not a field .* mean "payload"\?$/);
  assertMatch(told[9]!, /: payload must be its last field, and begin within/);
  assertEquals(await store.ok(["list"]), "long\nshort\n");
  assertEquals((await store.call(["load", "long", "--raw"])).output, payload);
  assertEquals(namesIn(store.base, ".poh", "staged"), []);
});

test("import can be interrupted between transactions", async () => {
  await using store = await cliStore();
  const controller = new AbortController();
  let number = 0;
  const stdin = new ReadableStream<Uint8Array>({
    pull(stream) {
      stream.enqueue(
        bytes(`${txText(`t${String(number++).padStart(4, "0")}`)}\n`),
      );
      if (number === 50) controller.abort();
    },
  });
  const { code, stdout, stderr } = await store.call(["import"], {
    stdin,
    signal: controller.signal,
  });
  assertEquals(code, 130);
  assertEquals(stderr, "poh-storage: Interrupted; run it again to go on\n");
  const [, count] = /^(\d+) txs: \1 new, 0 unchanged, 0 replaced\n$/.exec(
    stdout,
  )!;
  const listed = (await store.ok(["list", "--json"])).split("\n").length - 1;
  assertEquals(listed, Number(count));
  assertEquals((await store.call(["verify", "--quiet"])).code, 0);
});

test("export leaves out what is damaged, says so, and ends with 4", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"), txText("c"));
  await flipBit(join(store.base, placeOf("b")));
  await Deno.remove(join(store.base, placeOf("c")));
  const { code, stdout, stderr } = await store.call(["export"]);
  assertEquals(code, 4);
  assertEquals(stdout, `${txText("a")}\n`);
  assertMatch(
    stderr,
    /^poh-storage: .*"b".*\npoh-storage: .*"c".*missing\nExported 1 tx\npoh-storage: 2 damaged left out\n$/,
  );
});

test("real transactions come out as they went in", async () => {
  await using store = await cliStore();
  const before = (await Deno.readTextFile(BLOCK)).trimEnd().split("\n").sort();
  assertEquals(await store.ok(["import", BLOCK]), importLine(1557));
  const after = (await store.ok(["export", "--quiet"])).trimEnd().split("\n");
  assertEquals(after.length, before.length);
  assertEquals(after.every((line, i) => line === before[i]), true);
}, { ignore: namesIn("../shared/data").length === 0 });

// --- damage -----------------------------------------------------------------

test("load of a damaged or missing payload ends with 4", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  await flipBit(join(store.base, placeOf("a")));
  await Deno.remove(join(store.base, placeOf("b")));
  assertFails(
    await store.call(["load", "a"]),
    4,
    /^Cannot load tx "a": its payload has SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}; "poh-storage recover/,
  );
  assertFails(
    await store.call(["load", "b"]),
    4,
    /its payload is missing; "poh-storage recover/,
  );
  assertFails(await store.call(["load", "b", "--raw"]), 4, /missing; /);
  const raw = await store.call(["load", "a", "--raw"]);
  assertEquals(raw.code, 4);
  assertMatch(raw.stderr, /^poh-storage: Cannot load tx "a": .*\n$/);
});

test("a payload that cannot be read is no damage: exit 1", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  const path = join(store.base, placeOf("a"));
  await Deno.remove(path);
  await Deno.mkdir(path);
  assertFails(
    await store.call(["load", "a"]),
    1,
    /^Cannot read the payload of tx "a"/,
  );
  const verified = await store.call(["verify"]);
  assertEquals({ code: verified.code, stdout: verified.stdout }, {
    code: 1,
    stdout: "Verification complete: 1 of 2 txs valid\n",
  });
  assertStringIncludes(verified.stderr, 'unreadable: tx "a"');
  const recovered = await store.call(["recover"]);
  assertEquals(recovered.code, 1);
  assertMatch(
    recovered.stderr,
    /\npoh-storage: 1 payload could not be read\n$/,
  );
  const exported = await store.call(["export", "--quiet"]);
  assertEquals({ code: exported.code, stdout: exported.stdout }, {
    code: 1,
    stdout: `${txText("b")}\n`,
  });
});

test("verify reports damage, changes nothing and ends with 4", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"), txText("c"));
  const clean = await store.call(["verify"]);
  assertEquals({ code: clean.code, stdout: clean.stdout }, {
    code: 0,
    stdout: "Verification complete: 3 of 3 txs valid\n",
  });
  assertMatch(clean.stderr, /^payloads: 3 checked/m);
  await flipBit(join(store.base, placeOf("a")));
  await Deno.remove(join(store.base, placeOf("c")));
  const before = await filesBelow(store.base);
  const damaged = await store.call(["verify"]);
  assertEquals({ code: damaged.code, stdout: damaged.stdout }, {
    code: 4,
    stdout: "Verification complete: 1 of 3 txs valid\n",
  });
  assertMatch(
    damaged.stderr,
    /^payload-corrupt: tx "a", file "a.bin": .*expected [0-9a-f]{64}, found [0-9a-f]{64}\)$/m,
  );
  assertMatch(damaged.stderr, /^payload-missing: tx "c"/m);
  assertMatch(
    damaged.stderr,
    /\npoh-storage: Damage found: 1 payload-missing, 1 payload-corrupt; .*\n$/,
  );
  const json = await store.call(["verify", "--json"]);
  assertEquals(json.code, 4);
  assertEquals(json.stderr.split("\n").length, 2);
  const report = JSON.parse(json.stdout);
  assertEquals(report.sound, 1);
  assertEquals(report.checked, 3);
  assertEquals(report.damaged, true);
  assertEquals(report.dry_run, false);
  assertEquals(report.counts["payload-corrupt"], 1);
  assertEquals(report.findings.map((f: { tx_id: string }) => f.tx_id), [
    "a",
    "c",
  ]);
  assertEquals(
    (await store.call(["verify", "--quiet"])).stderr.split("\n").length,
    2,
  );
  assertEquals(await filesBelow(store.base), before);
});

test("verify checks a sample, a subset, or a part to go on from", async () => {
  await using store = await cliStore();
  await save(
    store,
    ...Array.from(
      { length: 40 },
      (_, i) => txText(`t${10 + i}`, "", i < 10 ? "alice" : "bob", i),
    ),
  );
  const report = async (...args: string[]) =>
    JSON.parse((await store.call(["verify", "--json", ...args])).stdout);
  assertEquals((await report("--holder", "alice")).checked, 10);
  assertEquals((await report("--prefix", "t1")).checked, 10);
  assertEquals((await report("--since", "10", "--before=15")).checked, 5);
  assertEquals((await report("--sample", "100%")).checked, 40);
  assert((await report("--sample", "50%")).checked < 40);
  const first = await report("--limit", "25");
  assertEquals([first.checked, first.cursor], [25, "t34"]);
  const rest = await report("--after", first.cursor);
  assertEquals([rest.checked, rest.cursor], [15, null]);
  const human = await store.call(["verify", "--limit", "5"]);
  assertStringIncludes(
    human.stderr,
    'Not at the end: go on with --after "t14"\n',
  );
});

test("verify can be interrupted and says where to go on", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  const { code, stderr } = await store.call(["verify"], {
    signal: AbortSignal.abort(),
  });
  assertEquals(code, 130);
  assertMatch(stderr, /\npoh-storage: Interrupted\n$/);
});

test("recover quarantines what is damaged, and finds nothing the second time", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"), txText("c"));
  await flipBit(join(store.base, placeOf("b")));
  const first = await store.call(["recover"]);
  assertEquals({ code: first.code, stdout: first.stdout }, {
    code: 0,
    stdout: "Recovery complete: 2 valid txs\n",
  });
  assertMatch(first.stderr, /^payload-corrupt: tx "b".*: quarantined$/m);
  assertEquals(await store.ok(["list"]), "a\nc\n");
  assertFails(
    await store.call(["load", "b"]),
    3,
    'No transaction "b"; "poh-storage list" shows what is there',
  );
  const second = await store.call(["recover", "--strict", "--json"]);
  assertEquals(second.code, 0);
  assertEquals(JSON.parse(second.stdout).findings, []);
  assertEquals(JSON.parse(await store.ok(["info", "--json"])).quarantined, 1);
});

test("verify --findings prints what it finds, a line each", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"), txText("c"));
  for (const txId of ["a", "c"]) {
    await Deno.remove(join(store.base, placeOf(txId)));
  }
  const { code, stdout, stderr } = await store.call(["verify", "--findings"]);
  assertEquals(code, 4);
  const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(
    lines.map(({ kind, tx_id, action }) => [kind, tx_id, action]),
    [["payload-missing", "a", "none"], ["payload-missing", "c", "none"]],
  );
  assertMatch(stderr, /^Verification complete: 1 of 3 txs valid$/m);
  assert(!stderr.includes("payload-missing:"), stderr);
});

test("recover --skip-payloads does all the rest", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  await flipBit(join(store.base, placeOf("b")));
  await Deno.writeTextFile(join(store.base, placeOf("c")), "orphan");
  const args = ["recover", "--skip-payloads", "--orphans=adopt"];
  const { code, stdout } = await store.call(args);
  assertEquals({ code, stdout }, {
    code: 0,
    stdout: "Recovery complete, but for the payloads\n",
  });
  assertEquals(await store.ok(["list"]), "a\nb\nc\n");
  assertEquals((await store.call(["verify"])).code, 4);
});

test("recover --create makes a store where there is none, and says so", async () => {
  await using store = await cliStore({ make: false });
  const db = join(store.base, "poh.db");
  const made = `No database at ${db}: making an empty store\n`;
  const first = await store.call(["recover", "--create"]);
  assertEquals([first.code, first.stdout], [
    0,
    "Recovery complete: 0 valid txs\n",
  ]);
  assert(first.stderr.startsWith(made), first.stderr);
  const second = await store.call(["recover", "--create"]);
  assertEquals(second.code, 0);
  assert(!second.stderr.includes("empty store"), second.stderr);
});

test("recover --dry-run says what recover would do and does nothing", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  await flipBit(join(store.base, placeOf("b")));
  const before = await filesBelow(store.base);
  const { code, stdout, stderr } = await store.call(["recover", "--dry-run"]);
  assertEquals({ code, stdout }, {
    code: 0,
    stdout: "Recovery complete: 1 valid tx\n",
  });
  assertMatch(stderr, /^payload-corrupt: tx "b".*: to be quarantined$/m);
  const strict = await store.call(["recover", "--dry-run", "--strict"]);
  assertEquals(strict.code, 4);
  assertMatch(
    strict.stderr,
    /\npoh-storage: 1 finding to repair \(--strict\)\n$/,
  );
  assertEquals(await filesBelow(store.base), before);
});

test("recover --strict ends with 4 when it repaired something", async () => {
  await using store = await cliStore();
  await save(store, txText("a"));
  await Deno.remove(join(store.base, placeOf("a")));
  const { code, stdout, stderr } = await store.call([
    "recover",
    "--strict",
    "--quiet",
  ]);
  assertEquals({ code, stdout }, {
    code: 4,
    stdout: "Recovery complete: 0 valid txs\n",
  });
  assertEquals(stderr, "poh-storage: 1 finding repaired (--strict)\n");
});

test("recover --purge deletes what is damaged", async () => {
  await using store = await cliStore();
  await save(store, txText("a"));
  await flipBit(join(store.base, placeOf("a")));
  const { code, stderr } = await store.call(["recover", "--purge"]);
  assertEquals(code, 0);
  assertMatch(stderr, /: purged$/m);
  assertEquals(await store.ok(["quarantine"]), "Quarantine is empty\n");
  assertEquals(namesIn(store.base).filter((name) => name.endsWith(".bin")), []);
});

test("recover keeps, adopts or quarantines orphans as it is told", async () => {
  await using store = await cliStore();
  await save(store, txText("a"));
  const orphan = join(store.base, placeOf("lost"));
  await Deno.writeTextFile(orphan, "payload");
  const kept = await store.call(["recover"]);
  assertMatch(
    kept.stderr,
    /^orphan-payload: tx "lost", file "lost.bin": [^:]+$/m,
  );
  assertEquals((await store.call(["recover", "--strict"])).code, 0);
  const adopted = await store.call(["recover", "--orphans", "adopt"]);
  assertMatch(adopted.stderr, /: adopted$/m);
  assertEquals(adopted.stdout, "Recovery complete: 2 valid txs\n");
  assertEquals(await store.ok(["load", "lost", "--raw"]), "payload");
  await Deno.writeTextFile(join(store.base, placeOf("more")), "x");
  const moved = await store.call(["recover", "--orphans=quarantine"]);
  assertMatch(moved.stderr, /: quarantined$/m);
  assertEquals(moved.stdout, "Recovery complete: 2 valid txs\n");
  assertStringIncludes(
    await store.ok(["quarantine"]),
    'orphan-payload tx "more", 1 bytes',
  );
});

test("a damaged database ends with 4 until recover --rebuild makes a new one", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  const db = join(store.base, "poh.db");
  await Deno.writeFile(db, randomBytes(8192));
  assertFails(
    await store.call(["load", "a"]),
    4,
    /^The database .* is damaged/,
  );
  assertFails(await store.call(["list"]), 4, /is damaged/);
  const verified = await store.call(["verify", "--json"]);
  assertEquals(verified.code, 4);
  assertEquals(JSON.parse(verified.stdout).counts["metadata-damaged"], 1);
  const refused = await store.call(["recover"]);
  assertEquals({ code: refused.code, stdout: refused.stdout }, {
    code: 4,
    stdout: "",
  });
  assertMatch(refused.stderr, /recover --rebuild makes a new one\n$/);
  const rebuilt = await store.call(["recover", "--rebuild"]);
  assertEquals({ code: rebuilt.code, stdout: rebuilt.stdout }, {
    code: 0,
    stdout: "Recovery complete: 2 valid txs\n",
  });
  assertEquals(await store.ok(["list"]), "a\nb\n");
  assertEquals(await store.ok(["load", "a", "--raw"]), "payload of a");
});

test("recover beside a writer names it, repairs nothing and ends with 5", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  await flipBit(join(store.base, placeOf("a")));
  await using _writer = await StorageManager.create(
    store.base,
    join(store.base, "poh.db"),
  );
  const before = await filesBelow(store.base);
  assertFails(
    await store.call(["recover"]),
    5,
    new RegExp(`pid ${Deno.pid}\\b.* since \\d{4}-\\d{2}-\\d{2}T`),
  );
  assertEquals(await filesBelow(store.base), before);
  assertEquals((await store.call(["verify", "--quiet"])).code, 4);
  assertEquals((await store.call(["save", "--tx", txText("c")])).code, 0);
});

test("quarantine lists, restores what is sound again, and is emptied", async () => {
  await using store = await cliStore();
  await save(store, txText("a"), txText("b"));
  for (const txId of ["a", "b"]) {
    await flipBit(join(store.base, placeOf(txId)));
  }
  assertEquals((await store.call(["recover"])).code, 0);
  const entries = (await store.ok(["quarantine", "--json"])).trimEnd().split(
    "\n",
  )
    .map((line) => JSON.parse(line));
  assertEquals(
    entries.map(({ tx_id, reason, row }) => [tx_id, reason, row.tx_id]).sort(),
    [
      ["a", "payload-corrupt", "a"],
      ["b", "payload-corrupt", "b"],
    ],
  );
  const { name } = entries.find(({ tx_id }) => tx_id === "a");
  assertMatch(
    await store.ok(["quarantine", "list"]),
    /payload-corrupt tx "b", 12 bytes\n/,
  );
  const damaged = await store.call(["quarantine", "restore", name]);
  assertFails(damaged, 4, /^Cannot load tx "a"/);
  await flipBit(join(store.base, ".poh", "quarantine", `${name}.bin`));
  assertEquals(
    await store.ok(["quarantine", "restore", name]),
    "Restored tx a\n",
  );
  assertEquals(await store.ok(["load", "a"]), `${txText("a")}\n`);
  assertFails(
    await store.call(["quarantine", "restore", name]),
    3,
    /in quarantine$/,
  );
  assertFails(
    await store.call(["quarantine", "restore", "../../poh"]),
    3,
    /in quarantine$/,
  );
  assertEquals(
    await store.ok(["quarantine", "empty", "--yes"]),
    "Deleted 1 from quarantine\n",
  );
  assertEquals(await store.ok(["quarantine"]), "Quarantine is empty\n");
});

// --- terminals --------------------------------------------------------------

test("progress is shown on a terminal only, and taken away at the end", async () => {
  await using store = await cliStore();
  const stdin = `${txText("a")}\n${txText("b")}\n`;
  const shown = await store.call(["import"], {
    stdin,
    terminal: { stdout: true, stderr: true },
  });
  assertEquals(shown.stdout, importLine(2));
  const [before, drawn, ...frames] = shown.stderr.split("\r\x1b[K");
  assertEquals([before, frames.at(-1)], ["", ""]);
  assertMatch(drawn!, /^import: \d lines\b/);
  const terminal = { stdout: false, stderr: true };
  assertEquals(
    await store.ok(["import", "--quiet"], { stdin, terminal }),
    importLine(0, 2),
  );
  const verified = await store.call(["verify"], { terminal });
  assertMatch(verified.stderr, /payloads: 2 checked, .*\n/);
  const exported = await store.call(["export"], {
    terminal: { stdout: true, stderr: true },
  });
  // What scrolls by takes the bar away for good.
  assertMatch(
    exported.stderr.replaceAll("\r\x1b[K", "|"),
    /^(\|export: 0 txs\|)?Exported 2 txs\n$/,
  );
});

test("--progress tells lines where there is no terminal, --quiet none", async () => {
  await using store = await cliStore();
  const run = (...args: string[]) => {
    const stdin = slowly(`${txText("a")}\n`, `${txText("b")}\n`, 6000);
    return store.call(["import", ...args], { stdin });
  };
  const [told, quiet, silent] = await Promise.all([
    run("--progress"),
    run("--progress", "--quiet"),
    run(),
  ]);
  assertMatch(told.stderr, /^import: 0\.2\/s, 1 lines, \d+ bytes\n$/);
  for (const { code, stdout } of [told, quiet, silent]) {
    assertEquals([code, stdout.slice(0, 7)], [0, "2 txs: "]);
  }
  assertEquals([quiet.stderr, silent.stderr], ["", ""]);
});

// --- help -------------------------------------------------------------------

/** Saves transactions by one import. */
async function save(store: CliStore, ...txs: string[]): Promise<void> {
  const stdin = txs.map((tx) => `${tx}\n`).join("");
  assertEquals(
    await store.ok(["import"], { stdin }),
    importLine(txs.length),
  );
}

/** Two pieces of input, some time apart. */
function slowly(
  first: string,
  second: string,
  ms: number,
): ReadableStream<Uint8Array> {
  return ReadableStream.from((async function* () {
    yield bytes(first);
    await new Promise((resolve) => setTimeout(resolve, ms));
    yield bytes(second);
  })());
}

/** Waits until something holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}
