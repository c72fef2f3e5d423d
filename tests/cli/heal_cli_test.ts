// What recover and verify tell on the command line, and how they heal there.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { performRecovery, StorageManager, verifyStore } from "../../mod.ts";
import { closeStore, openStore } from "../../src/local/open_store.ts";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  assertFails,
  type CliStore,
  cliStore,
  run,
  txText,
} from "../cli_helpers.ts";
import {
  bytes,
  filesBelow,
  flipBit,
  IS_WINDOWS,
  namesIn,
  sampleTx,
  tempDir,
  test,
} from "../helpers.ts";
import { startService } from "../http/serve_helpers.ts";
import { serve, untilReady } from "../http/serve_process.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";

/** A store of four transactions and a backup; `a` is missing, `b` is damaged. */
async function damagedStore(): Promise<{ store: CliStore; backup: string }> {
  const store = await cliStore();
  for (const txId of ["a", "b", "c", "d"]) {
    const { code } = await store.call(["save", "--tx", txText(txId)]);
    assertEquals(code, 0);
  }
  const backup = store.dir.join("backup");
  const made = await store.call(["backup", backup, "--copy", "--quiet"]);
  assertEquals(made.code, 0, made.stderr);
  await Deno.remove(join(store.base, placeOf("a")));
  await flipBit(join(store.base, placeOf("b")));
  return { store, backup };
}

/** A folder that has some of a backup's payload files. */
async function partOf(
  backup: string,
  folder: string,
  names: string[],
): Promise<string> {
  await Deno.mkdir(folder);
  for (const name of names) {
    await Deno.copyFile(join(backup, name), join(folder, name));
  }
  return folder;
}

test("recover --from asks one source after the other, and tells what each had", async () => {
  const { store, backup } = await damagedStore();
  await using _ = store;
  const first = await partOf(backup, store.dir.join("first"), ["a.bin"]);
  const args = ["recover", "--from", first, `--from=${backup}`];
  const { code, stdout, stderr } = await store.call(args);
  assertEquals({ code, stdout }, {
    code: 0,
    stdout: "Recovery complete: 4 valid txs\n",
  });
  const lines = stderr.split("\n");
  assert(
    lines.includes(
      "Found: 1 payload-missing (healed), 1 payload-corrupt (healed)",
    ),
    stderr,
  );
  assert(lines.includes(`From ${first}: 1 found`), stderr);
  assert(lines.includes(`From ${backup}: 1 found`), stderr);
  assertMatch(stderr, /^payload-missing: tx "a".*: healed from \S+first$/m);
  assert(!stderr.includes("out of service"), stderr);
  assertEquals(await store.ok(["load", "a", "--raw"]), "payload of a");
  assertEquals((await store.call(["verify", "--quiet"])).code, 0);
});

test("recover --strict ends with 4 when it healed something", async () => {
  const { store, backup } = await damagedStore();
  await using _ = store;
  const args = ["--from", backup, "--strict"];
  assertEquals((await store.call(["recover", "--dry-run", ...args])).code, 4);
  assertEquals((await store.call(["recover", ...args])).code, 4);
  assertEquals((await store.call(["recover", ...args])).code, 0);
});

test("verify --from counts what could be healed, and changes nothing", async () => {
  const { store, backup } = await damagedStore();
  await using _ = store;
  const part = await partOf(backup, store.dir.join("part"), ["a.bin"]);
  const before = await filesBelow(store.base);
  const args = ["verify", "--from", part];
  const { code, stdout, stderr } = await store.call(args);
  assertEquals({ code, stdout }, {
    code: 4,
    stdout: "Verification complete: 2 of 4 txs valid, 1 could be healed\n",
  });
  assertMatch(
    stderr,
    /^payload-missing: tx "a".*: could be healed from \S+part$/m,
  );
  const found = await store.call([...args, "--findings"]);
  assertEquals(
    found.stdout.trimEnd().split("\n").map((line) => JSON.parse(line))
      .map(({ tx_id, source, action }) => [tx_id, source, action]),
    [["a", part, "none"], ["b", null, "none"]],
  );
  const json = JSON.parse((await store.call([...args, "--json"])).stdout);
  assertEquals([json.healable, json.sources], [1, [
    { source: part, healed: 1, wrong: 0, failure: null },
  ]]);
  assertEquals(await filesBelow(store.base), before);
});

test("recover tells what went out of service, and the commands that come next work", async () => {
  const { store, backup } = await damagedStore();
  await using _ = store;
  await Deno.writeTextFile(join(store.base, placeOf("x")), "orphan");
  const { code, stdout, stderr } = await store.call(["recover"]);
  assertEquals({ code, stdout }, {
    code: 0,
    stdout: "Recovery complete: 2 valid txs\n",
  });
  const lines = stderr.trimEnd().split("\n").slice(-4);
  assertEquals(lines, [
    "Found: 1 payload-missing (quarantined), 1 payload-corrupt (quarantined), 1 orphan-payload (left as found)",
    'Taken out of service: "a", "b"',
    `See them by: poh-storage quarantine list --base ${store.base}`,
    `Bring them back, where a copy has them, by: poh-storage recover --base ${store.base} --from <backup, archive, store or URL>`,
  ]);
  const listed = await store.ok(["quarantine", "list", "--json"]);
  assertEquals(listed.trimEnd().split("\n").length, 2);
  const back = await store.call(["recover", "--from", backup]);
  assertEquals(back.stdout, "Recovery complete: 4 valid txs\n");
  assertMatch(
    back.stderr,
    /^Found: 1 orphan-payload \(left as found\), 2 out-of-service \(healed\)$/m,
  );
  assertEquals(await store.ok(["list"]), "a\nb\nc\nd\n");
});

test("what is found beyond the cap is counted, and the first few are named", async () => {
  await using store = await cliStore();
  assertEquals((await store.call(["init"])).code, 0);
  const opened = await openStore(store.base, join(store.base, "poh.db"), {
    durability: "relaxed",
  });
  opened.rows.transaction(() => {
    for (let n = 0; n < 1_200; n++) {
      putRow(opened.rows, {
        ...{ txId: `t${n + 1_000}`, holderId: "", timestamp: 0, size: 1 },
        storageHash: "00".repeat(32),
      });
    }
  });
  await closeStore(opened);
  await Deno.writeTextFile(join(store.base, placeOf("x")), "orphan");
  const args = ["recover", "--durability", "relaxed"];
  const dry = await store.call([...args, "--dry-run"]);
  assertMatch(
    dry.stderr,
    /^Would be taken out of service: "t1000", .*, "t1009" and 1190 more$/m,
  );
  const { stderr } = await store.call([...args, "--purge"]);
  assertMatch(
    stderr,
    /^Found: 1200 payload-missing \(purged\), 1 orphan-payload \(left as found\)$/m,
  );
  assertMatch(stderr, /^Deleted: "t1000", "t1001", .* and 1190 more$/m);
  assert(!stderr.includes("quarantine list"), stderr);
});

test("a dry run ends as the real run does", async () => {
  const flags = [[], ["--strict"], ["--purge", "--strict"], [
    "--orphans=adopt",
    "--strict",
  ]];
  const states: Record<string, (base: string) => Promise<unknown>> = {
    "nothing wrong": async () => {},
    "a missing payload": (base) => Deno.remove(join(base, placeOf("a"))),
    "all payloads missing": async (base) => {
      for (const txId of ["a", "b"]) {
        await Deno.remove(join(base, placeOf(txId)));
      }
    },
    "an orphan": (base) =>
      Deno.writeTextFile(join(base, placeOf("x")), "orphan"),
    "a leftover": (base) =>
      Deno.writeTextFile(join(base, ".poh", "tmp", "x"), "half"),
    "a payload that cannot be read": async (base) => {
      await Deno.remove(join(base, placeOf("a")));
      await Deno.mkdir(join(base, placeOf("a")));
    },
    "a damaged database": (base) =>
      Deno.writeFile(join(base, "poh.db"), new Uint8Array(8192).fill(7)),
  };
  for (const [what, damage] of Object.entries(states)) {
    for (const options of flags) {
      await using store = await cliStore();
      for (const txId of ["a", "b"]) {
        await store.call(["save", "--tx", txText(txId)]);
      }
      await damage(store.base);
      const args = ["recover", "--quiet", ...options];
      const dry = await store.call([...args, "--dry-run"]);
      const real = await store.call(args);
      assertEquals(
        [dry.code, dry.stdout],
        [real.code, real.stdout],
        `${what} ${options}`,
      );
    }
  }
});

test("a dry run beside a writer tells all, and ends with 5 as the real run does", async () => {
  const { store } = await damagedStore();
  await using _ = store;
  await using _writer = await StorageManager.create(
    store.base,
    join(store.base, "poh.db"),
  );
  const { code, stdout, stderr } = await store.call(["recover", "--dry-run"]);
  assertEquals([code, stdout], [5, "Recovery complete: 2 valid txs\n"]);
  assertMatch(stderr, new RegExp(`would repair nothing: pid ${Deno.pid}`));
  assertEquals((await store.call(["recover"])).code, 5);
});

test("API and command line agree on a store whose payloads are all missing", async () => {
  await using store = await cliStore();
  const { base } = store, db = join(base, "poh.db");
  for (const txId of ["a", "b"]) {
    await store.call(["save", "--tx", txText(txId)]);
  }
  for (const txId of ["a", "b"]) await Deno.remove(join(base, placeOf(txId)));
  assertEquals((await store.call(["verify"])).code, 4);
  const seen = await verifyStore(base, db);
  assertEquals([seen.damaged, seen.counts["payload-missing"]], [true, 2]);
  {
    await using manager = await StorageManager.create(base, db);
    assertEquals((await manager.verify()).damaged, true);
    const dry = await manager.recover({ dryRun: true });
    assertEquals([dry.damaged, dry.takenOut], [true, ["a", "b"]]);
  }
  assertEquals(
    (await store.call(["recover", "--strict", "--dry-run"])).code,
    4,
  );
  assertEquals((await performRecovery(base, db)).damaged, true);
});

test("a source that cannot be opened is one line, and nothing is changed", async () => {
  const { store, backup } = await damagedStore();
  await using _ = store;
  const before = await filesBelow(store.base);
  const fails = async (args: string[], code: number, message: RegExp) =>
    assertFails(await store.call(args), code, message);
  const nowhere = store.dir.join("nowhere");
  const from = ["recover", "--from", backup, "--from"];
  await fails([...from, nowhere], 1, /^Cannot heal from \S+nowhere: /);
  await fails([...from, store.base], 1, /: it is the store itself$/);
  await fails([...from, ""], 2, /^--from must not be empty$/);
  await fails(["recover", "--from"], 2, /^Option --from needs a value$/);
  await fails(
    ["recover", "--from-token-file", "x"],
    2,
    /^--from-token-file needs --from$/,
  );
  await fails(
    [...from, nowhere, "--skip-payloads"],
    2,
    /^--from excludes --skip-payloads$/,
  );
  await fails(["verify", "--from", nowhere], 1, /^Cannot heal from \S+nowhere/);
  assertEquals(await filesBelow(store.base), before);
});

test("a source that ends in the middle leaves what it may have, and ends with 1", async () => {
  const { store } = await damagedStore();
  await using _ = store;
  const other = await cliStore();
  await using __ = other;
  for (const txId of ["a", "b", "c"]) {
    await other.call(["save", "--tx", txText(txId)]);
  }
  const tar = store.dir.join("cut.tar");
  const whole = (await other.call(["backup", "--tar"])).output;
  // In the middle of the second of its three payloads.
  await Deno.writeFile(tar, whole.subarray(0, 1024 + 512 + 5));
  const cut = await store.call(["recover", "--from", tar]);
  assertEquals(cut.code, 1, cut.stderr);
  assertMatch(cut.stderr, /^From \S+cut\.tar: 1 found.*; then it failed: /m);
  assertMatch(
    cut.stderr,
    /\npoh-storage: \S+cut\.tar failed, and 1 tx was left as found that it may have; run it again to go on\n$/,
  );
  await Deno.writeFile(tar, whole);
  const { code, stdout } = await store.call(["recover", "--from", tar]);
  assertEquals([code, stdout], [0, "Recovery complete: 4 valid txs\n"]);
});

test("recover --from a node sends it the token of a file", async () => {
  const { store } = await damagedStore();
  await using _ = store;
  const token = "0123456789abcdef";
  const txs = ["a", "b"].map((txId) => sampleTx({ txId }));
  await using service = await startService({ txs, tokens: token });
  const file = store.dir.join("token");
  const args = ["recover", "--from", service.url, "--from-token-file", file];
  await Deno.writeTextFile(file, `https://elsewhere.example other\n`);
  assertFails(await store.call(args), 1, /asks for a token/);
  await Deno.writeTextFile(file, "two words");
  assertFails(await store.call(args), 2, /must have one token, or lines/);
  await Deno.writeTextFile(file, `${service.url}  ${token}\n`);
  const { code, stdout } = await store.call(args);
  assertEquals([code, stdout], [0, "Recovery complete: 4 valid txs\n"]);
});

test("Ctrl-C in recover --from ends with 130, and the next run goes on", async () => {
  const { store, backup } = await damagedStore();
  await using _ = store;
  const { code } = await store.call(["recover", "--from", backup], {
    signal: AbortSignal.abort(),
  });
  assertEquals(code, 130);
  assertEquals((await store.call(["recover", "--from", backup])).code, 0);
  assertEquals(namesIn(store.base, ".poh", "staged"), []);
  assertEquals((await store.call(["verify"])).code, 0);
});

test("recover --from needs no more than the permission to read its source", async () => {
  const { store, backup } = await damagedStore();
  await using _ = store;
  const args = ["recover", "--base", store.base, "--from", backup];
  const permissions = [
    `--allow-read=${store.base}`,
    `--allow-write=${store.base}`,
    "--allow-env=POH_BASE,POH_DB,POH_DEBUG",
  ];
  const cwd = store.dir.path;
  assertFails(
    await run(args, { cwd, permissions }),
    1,
    `Missing permission; run again with --allow-read=${backup}`,
  );
  permissions[0] += `,${backup}`;
  const { code, stdout, stderr } = await run(args, { cwd, permissions });
  assertEquals([code, stdout], [0, "Recovery complete: 4 valid txs\n"], stderr);
});

test("the service tells at its start what recovery did", async () => {
  await using dir = await tempDir();
  const base = dir.join("data");
  {
    await using store = await StorageManager.create(base, join(base, "poh.db"));
    for (const txId of ["a", "b", "c"]) {
      await store.saveTx(sampleTx({ txId, payload: bytes(txId) }));
    }
  }
  await Deno.remove(join(base, placeOf("a")));
  await flipBit(join(base, placeOf("b")));
  const served = await serve(dir.path);
  await untilReady(served.url);
  const { code, stderr } = await served.end("SIGTERM");
  assertEquals(code, 0, stderr);
  assertEquals(stderr.split("\n").slice(0, 6), [
    "Warning: recovery took 2 transactions out of service",
    "Found: 1 payload-missing (quarantined), 1 payload-corrupt (quarantined)",
    'Taken out of service: "a", "b"',
    "See them by: poh-storage quarantine list",
    "Bring them back, where a copy has them, by: poh-storage recover --from <backup, archive, store or URL>",
    "Ready",
  ]);
}, { ignore: IS_WINDOWS });
