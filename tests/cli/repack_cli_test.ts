import { assert, assertEquals, assertMatch } from "@std/assert";
import { assertFails, cliStore, errorIn, txText } from "../cli_helpers.ts";
import {
  bytes,
  namesIn,
  overwriteInLog,
  randomBytes,
  test,
} from "../helpers.ts";

/** The payload files of a store. */
function files(base: string): string[] {
  return namesIn(base).filter((name) => name.endsWith(".bin"));
}

test("init --pack-below makes a store that packs small payloads", async () => {
  await using store = await cliStore({ make: false });
  await store.ok(["init", "--pack-below", "1KiB"]);
  await store.ok(["save", "--tx", txText("a", bytes("small"))]);
  assertEquals(files(store.base), []);
  assertMatch(
    await store.ok(["info"]),
    /^Packed: +payloads of at most 1.0 KiB in the log$/m,
  );
  assertMatch(
    await store.ok(["info"]),
    /^Log: +256 bytes: 96 bytes of payloads that live there, 0 bytes dead$/m,
  );
  assertEquals(JSON.parse(await store.ok(["info", "--json"])).log, {
    bytes: 256,
    alive: 96,
    dead: 0,
  });
  await store.ok(["save", "--tx", txText("b", randomBytes(2000))]);
  assertEquals(files(store.base), ["b.bin"]);
  await store.ok(["init", "--pack-below=1024"]);
  assertFails(
    await store.call(["init", "--pack-below=0"]),
    2,
    "There is a store already, which packs payloads of at most 1024 bytes; poh-storage repack --pack-below 0 changes that and moves what is there",
  );
});

test("--inline-below is --pack-below's former name", async () => {
  await using store = await cliStore({ make: false });
  const made = await store.call(["init", "--inline-below=1024"]);
  assertEquals([made.code, made.stderr], [
    0,
    "--inline-below is deprecated: write --pack-below\n",
  ]);
  assertEquals(JSON.parse(await store.ok(["info", "--json"])).pack_below, 1024);
  const both = ["init", "--pack-below=1k", "--inline-below=2k"];
  const { code, stderr } = await store.call(both);
  assertEquals(code, 2);
  assertMatch(
    stderr,
    /--pack-below and --inline-below are one option: got 1024 and 2048 bytes; give --pack-below alone/,
  );
});

test("repack moves payloads either way", async () => {
  await using store = await cliStore();
  await store.ok(["save", "--tx", txText("a", bytes("small"))]);
  await store.ok(["save", "--tx", txText("b", randomBytes(2000))]);
  assertEquals(
    await store.ok(["repack", "--pack-below", "1KiB"]),
    "Payloads of at most 1.0 KiB are in the log: 1 moved, 0 bytes of the log freed\n",
  );
  assertEquals(files(store.base), ["b.bin"]);
  assertEquals((await store.call(["verify"])).code, 0);
  assertEquals(
    await store.ok(["repack", "--pack-below=0"]),
    "All payloads are files: 1 moved, 96 bytes of the log freed\n",
  );
  assertEquals(files(store.base), ["a.bin", "b.bin"]);
  assertEquals(JSON.parse(await store.ok(["info", "--json"])).log.bytes, 160);
  assertFails(
    await store.call(["repack", "--pack-below", "65k"]),
    2,
    "--pack-below takes 64KiB at most, got 66560 bytes",
  );
});

test("repack gives back the dead bytes that info tells", async () => {
  await using store = await cliStore({ make: false });
  await store.ok(["init", "--pack-below=64KiB"]);
  for (const id of ["a", "b", "c"]) {
    await store.ok(["save", "--tx", txText(id, randomBytes(30_000))]);
  }
  await store.ok(["delete", "a"]);
  const log = async () => JSON.parse(await store.ok(["info", "--json"])).log;
  const { alive, dead } = await log();
  assert(dead > 30_000);
  assertMatch(await store.ok(["info"]), /, 29\.\d KiB dead$/m);
  assertEquals(JSON.parse(await store.ok(["repack", "--json"])), {
    pack_below: 65_536,
    moved: 0,
    freed: dead,
    dead: 0,
    interrupted: false,
  });
  assertEquals(await log(), { bytes: alive + 160, alive, dead: 0 });
});

test("repack tells of dead bytes that a damaged payload keeps", async () => {
  await using store = await cliStore({ make: false });
  await store.ok(["init", "--pack-below=64KiB"]);
  await store.ok(["save", "--tx", txText("a", "a payload to be damaged")]);
  await store.ok(["save", "--tx", txText("b", randomBytes(3_000))]);
  await store.ok(["delete", "b"]);
  await overwriteInLog(store.base, "a payload to be damaged", "DAMAGED");
  const { code, stderr } = await store.call(["repack"]);
  assertEquals(code, 0);
  assertMatch(stderr, /^3\.\d KiB of the log are dead and stay: .*damaged/);
});

test("repack can be interrupted, says so, and goes on", async () => {
  await using store = await cliStore();
  await store.ok(["import", "--durability=relaxed"], {
    stdin: Array.from({ length: 300 }, (_, n) => `${txText(`tx-${n}`)}\n`)
      .join(""),
  }).catch(() => {}); // it says on stderr what it imported
  const stop = new AbortController();
  let looks = 0;
  const signal = stop.signal;
  // Aborted when the second page of payloads is asked for.
  Object.defineProperty(signal, "aborted", {
    get: () => ++looks > 3,
  });
  const { code, stdout, stderr } = await store.call(
    ["repack", "--pack-below=1k", "--json", "--durability=relaxed"],
    { signal },
  );
  assertEquals(code, 130, stderr);
  const { moved, interrupted } = JSON.parse(stdout);
  assertEquals(interrupted, true);
  assertEquals(files(store.base).length, 300 - moved);
  assertMatch(errorIn(stderr), /^Interrupted; what was moved stays so/);
  const rest = JSON.parse(await store.ok(["repack", "--json"]));
  assertEquals([rest.moved, rest.interrupted], [300 - moved, false]);
  assertEquals(files(store.base), []);
  assertEquals((await store.call(["verify"])).code, 0);
});

test("repack is for a store on this machine", async () => {
  await using store = await cliStore();
  const args = ["repack", "--db", "postgres://poh@127.0.0.1:9/poh"];
  assertFails(
    await store.call(args),
    2,
    "repack is for stores on this machine, in a folder with SQLite",
  );
});
