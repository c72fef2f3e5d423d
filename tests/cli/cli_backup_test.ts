import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import {
  assertFails,
  call,
  cliStore,
  command,
  run,
  txText,
} from "../cli_helpers.ts";
import {
  bytes,
  filesBelow,
  flipBit,
  namesIn,
  tempDir,
  test,
} from "../helpers.ts";

async function filledStore() {
  const store = await cliStore();
  for (const id of ["a", "b", "c"]) {
    await store.ok(["save", "--tx", txText(id)]);
  }
  return store;
}

test("backup and restore are told in one line, or as JSON", async () => {
  await using store = await filledStore();
  const folder = store.dir.join("backup"), base = store.dir.join("new");
  const told = await store.ok(["backup", folder, "--copy"]);
  assertEquals(
    told,
    `Backed up 3 txs to ${folder}: 3 new (36 bytes), 0 kept, 0 removed\n`,
  );
  await store.ok(["delete", "b"]);
  assertEquals(JSON.parse(await store.ok(["backup", folder, "--json"])), {
    folder,
    txs: 2,
    written: 0,
    linked: 0,
    bytes: 0,
    kept: 2,
    removed: 1,
    damaged: 0,
    unreadable: 0,
    interrupted: false,
    findings: [],
  });
  const restored = await call(["restore", folder, "--base", base]);
  assertEquals(restored, {
    ...restored,
    code: 0,
    stdout: `Restored 2 txs (24 bytes) to ${base}\n`,
    stderr: "",
  });
  const other = await call([
    "restore",
    folder,
    "--base",
    store.dir.join("x"),
    "--db",
    store.dir.join("x.db"),
    "--json",
  ]);
  assertEquals(JSON.parse(other.stdout), {
    base: store.dir.join("x"),
    db: store.dir.join("x.db"),
    txs: 2,
    bytes: 24,
  });
  assertEquals(
    (await call(["export", "--base", base])).stdout,
    (await store.call(["export"])).stdout,
  );
});

test("an archive goes through a pipe, into a file or out of it", async () => {
  await using store = await filledStore();
  for (const form of ["--tar", "-"]) {
    const { output, stderr, code } = await store.call(["backup", form]);
    assertEquals(code, 0);
    assertStringIncludes(stderr, "Backed up 3 txs: 3 new");
    assertEquals(output.length % 512, 0);
    const base = store.dir.join(`piped${form}`);
    const piped = await call(["restore", "-", "--base", base], {
      stdin: output,
    });
    assertEquals([piped.code, piped.stderr], [0, ""]);
    const file = store.dir.join("backup.tar");
    await Deno.writeFile(file, output);
    const read = await call(["restore", file, "--base", `${base}2`]);
    assertEquals(read.code, 0);
    assertEquals(
      (await call(["export", "--base", base])).stdout,
      (await call(["export", "--base", `${base}2`])).stdout,
    );
  }
});

test("backup and restore say what they were not given", async () => {
  await using store = await filledStore();
  const fails = async (args: string[], message: string | RegExp) =>
    assertFails(await store.call(args), 2, message);
  await fails(["backup"], "backup needs a folder, or --tar");
  await fails(["backup", ""], "backup needs a folder, or --tar");
  await fails(["backup", "x", "--tar"], /takes no folder/);
  await fails(["backup", "--tar", "--json"], /cannot both have stdout/);
  await fails(["restore"], /^restore needs a folder/);
  await store.ok(["backup", store.dir.join("backup")]);
  await fails(["restore", store.dir.join("backup")], /is there already/);
  assertFails(
    await call([
      "restore",
      store.dir.join("none"),
      "--base",
      store.dir.join("n"),
    ]),
    2,
    /^There is no backup at/,
  );
  await fails(["backup", join(store.base, "below")], /overlap/);
  await Deno.mkdir(store.dir.join("mine"));
  await Deno.writeTextFile(store.dir.join("mine", "notes"), "");
  await fails(["backup", store.dir.join("mine")], /neither empty nor a backup/);
  const terminal = { stdout: true, stderr: true };
  const shown = await store.call(["backup", "--tar"], { terminal });
  assertEquals([shown.code, shown.stdout], [2, ""]);
});

test("damage is told with its id and ends with 4", async () => {
  await using store = await filledStore();
  const folder = store.dir.join("backup");
  await flipBit(join(store.base, placeOf("b")));
  const backup = await store.call(["backup", folder, "--copy"]);
  assertEquals(backup.code, 4);
  assertStringIncludes(backup.stderr, 'payload-corrupt: tx "b"');
  assertStringIncludes(backup.stderr, "poh-storage: 1 damaged left out\n");
  assertStringIncludes(backup.stdout, "Backed up 2 txs");
  assertEquals((await call(["verify", "--base", folder])).code, 0);
  await flipBit(join(folder, placeOf("c")));
  const before = await filesBelow(store.dir.path);
  const base = store.dir.join("new");
  const restore = await call(["restore", folder, "--base", base]);
  assertEquals([restore.code, restore.stdout], [4, ""]);
  assertStringIncludes(restore.stderr, 'tx "c"');
  assertStringIncludes(restore.stderr, "nothing was restored");
  assertEquals(await filesBelow(store.dir.path), before);
  // What is sound of it can still be had.
  const sound = await call(["export", "--base", folder]);
  assertEquals(sound.stdout.trim().split("\n").length, 1);
});

test("an interrupted backup and restoration end with 130", async () => {
  await using store = await filledStore();
  const folder = store.dir.join("backup");
  const signal = AbortSignal.abort();
  const stopped = await store.call(["backup", folder], { signal });
  assertEquals(stopped, {
    ...stopped,
    code: 130,
    stdout:
      `Backup to ${folder} not complete: 0 new (0 bytes), 0 kept, 0 removed\n`,
    stderr: "poh-storage: Interrupted; run it again to go on\n",
  });
  const asJson = await store.call(["backup", folder, "--json"], { signal });
  assertEquals(asJson.code, 130);
  const { interrupted, txs, written } = JSON.parse(asJson.stdout);
  assertEquals({ interrupted, txs, written }, {
    interrupted: true,
    txs: 0,
    written: 0,
  });
  await store.ok(["backup", folder]);
  const base = store.dir.join("new");
  assertFails(
    await call(["restore", folder, "--base", base], { signal }),
    130,
    "Interrupted; nothing was restored",
  );
  assertEquals(namesIn(store.dir.path), ["backup", "store"]);
});

test("a backup takes no save, and a file is no folder", async () => {
  await using store = await filledStore();
  const folder = store.dir.join("backup"), file = store.dir.join("scan.tiff");
  await store.ok(["backup", folder]);
  for (const args of [["save", "--tx", txText("d")], ["delete", "a"]]) {
    assertFails(
      await call([...args, "--base", folder]),
      2,
      `${folder} is a backup: restore it first`,
    );
  }
  await Deno.writeTextFile(file, "");
  assertFails(
    await call(["list", "--base", file]),
    2,
    `--base must be a folder; ${file} is not`,
  );
  assertFails(await store.call(["backup", file]), 2, /must be a folder/);
});

test("the permissions that are needed are narrow", async () => {
  await using dir = await tempDir();
  const cwd = dir.path;
  await run(["init"], { cwd });
  await run(["save", "--tx", txText("a")], { cwd });
  const read = "--allow-read=data,backup";
  const backup = (permissions: string[]) =>
    run(["backup", "backup", "--json"], { cwd, permissions });
  const without = await backup([read]);
  assertEquals(without.code, 1);
  assertStringIncludes(without.stderr, "--allow-write=backup");
  const unmade = await backup([read, "--allow-write=backup"]);
  assertEquals(unmade.code, 1);
  assertStringIncludes(unmade.stderr, "--allow-read=.");
  await Deno.mkdir(dir.join("backup"));
  const copied = await backup([read, "--allow-write=backup"]);
  assertEquals([copied.code, copied.stderr], [0, ""]);
  assertEquals(JSON.parse(copied.stdout).linked, 0);
  await Deno.mkdir(dir.join("new"));
  const restored = await run(["restore", "backup", "--base", "new/store"], {
    cwd,
    permissions: ["--allow-read=backup,new", "--allow-write=new"],
  });
  assertEquals([restored.code, restored.stderr], [0, ""]);
  const tar = await run(["backup", "--tar", "--quiet"], {
    cwd,
    permissions: ["--allow-read=data", "--allow-write=data"],
  });
  assertEquals([tar.code, tar.stderr], [0, ""]);
  const piped = await run(["restore", "-", "--base", "new/piped"], {
    cwd,
    stdin: tar.output,
    permissions: ["--allow-read=new", "--allow-write=new"],
  });
  assertEquals([piped.code, piped.stderr], [0, ""]);
});

test("a reader of the archive that goes away is no failure", async () => {
  await using dir = await tempDir();
  const cwd = dir.path;
  const tx = txText("large", new Uint8Array(3_000_000));
  await run(["init"], { cwd });
  await run(["save", "--tx", "-"], { cwd, stdin: bytes(tx) });
  const child = command(["backup", "--tar"], { cwd }).spawn();
  const reader = child.stdout.getReader();
  assert((await reader.read()).value);
  await reader.cancel();
  const { code } = await child.status;
  assertEquals(code, 0);
  await child.stderr.cancel();
  assertEquals(namesIn(dir.join("data", ".poh", "tmp")), []);
}, { ignore: Deno.build.os === "windows" });
