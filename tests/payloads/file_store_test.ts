import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { FileStore, type FileStoreOptions, sha256Hex } from "../../mod.ts";
import { readSoon } from "../../src/payloads/payload_file.ts";
import type { TxInfo } from "../../src/types.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { testPayloadStore } from "../contract/payload_store.ts";
import {
  assertBytes,
  bytes,
  filesBelow,
  IS_WINDOWS,
  namesIn,
  randomBytes,
  refusingDisk,
  tempDir,
  test,
  text,
} from "../helpers.ts";

for (const sync of [true, false]) {
  const how = sync ? "FileStore" : "FileStore without sync";
  testPayloadStore(how, async () => {
    const { dir, store } = await tempFileStore({ sync });
    return {
      store,
      again: () => new FileStore(store.basePath, { sync }),
      [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
    };
  });
}

async function tempFileStore(options: FileStoreOptions = {}) {
  const dir = await tempDir();
  const store = new FileStore(dir.join("base"), options);
  await store.init();
  return {
    dir,
    store,
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

test("a new FileStore touches nothing before init()", async () => {
  await using dir = await tempDir();
  const store = new FileStore(dir.join("base"));
  assertEquals(namesIn(dir.path), []);
  await store.init();
  await store.init();
  assertEquals(namesIn(store.basePath), [".poh"]);
  assertEquals(namesIn(store.basePath, ".poh"), ["staged", "tmp"]);
});

test("what a row says is soon told from what is there", async () => {
  await using temp = await tempFileStore();
  const { store } = temp;
  const row = sampleInfo({
    storageHash: await sha256Hex(bytes("abc")),
    size: 3,
  });
  const soon = (row: TxInfo) => readSoon(store.expected(row));
  assertEquals(soon(row), null);
  await store.save("a", bytes("abc"));
  assertEquals(soon(row), bytes("abc"));
  for (
    const other of [
      { size: -1 },
      { size: 4 },
      { storageHash: "00".repeat(32) },
      { txId: "b" },
      { txId: "x".repeat(300) },
    ]
  ) assertEquals(soon({ ...row, ...other }), null);
  await store.save("a", bytes("abd"));
  assertEquals(soon(row), null);
});

test("a payload is one file that holds its bytes and nothing else", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await store.save("tx1", bytes("hello"));
  assertEquals(namesIn(store.basePath), [".poh", "tx1.bin"]);
  assertEquals(
    await Deno.readTextFile(join(store.basePath, "tx1.bin")),
    "hello",
  );
});

test("save(), replace and remove() leave no temporary file", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  for (const size of [10, 200_000]) {
    await store.save("a", randomBytes(size));
    await store.save("a", randomBytes(size, 2));
  }
  await store.remove("a");
  assertEquals(await filesBelow(store.basePath), {});
});

test("ids that look like paths leave no trace outside the base", async () => {
  await using made = await tempFileStore();
  const { dir, store } = made;
  for (const id of ["../x", "../../x", "/x", "..\\x", "a/../../../x", ".."]) {
    await store.save(id, bytes(id));
  }
  assertEquals(namesIn(dir.path), ["base"]);
  assertEquals(namesIn(store.basePath).length, 1 + 6);
});

test("a file whose name is given to no id is no payload", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  for (const name of ["CON.bin", "a%.bin", "e\u0301.bin"]) {
    await Deno.writeTextFile(join(store.basePath, name), "x");
    const txId = name.slice(0, -4);
    assertEquals(await store.load(txId), null, name);
    assertEquals(await store.exists(txId), false, name);
    assertEquals(await store.remove(txId), false, name);
  }
  assertEquals(await store.listKeys(), []);
  const files = await Array.fromAsync(store.files());
  assertEquals(files.map(({ txId }) => txId), [null, null, null]);
}, { ignore: IS_WINDOWS });

test("files that are no payloads are not listed", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  for (const name of ["poh.db", "poh.db-wal", "notes.txt", ".DS_Store"]) {
    await Deno.writeTextFile(join(store.basePath, name), "x");
  }
  await store.save("a", bytes("1"));
  assertEquals(await store.listKeys(), ["a"]);
});

test("a directory in place of a payload is refused and left alone", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await Deno.mkdir(join(store.basePath, "a.bin", "within"), {
    recursive: true,
  });
  await assertRejects(() => store.load("a"), Deno.errors.InvalidData);
  await assertRejects(() => store.exists("a"), Deno.errors.InvalidData);
  await assertRejects(() => store.remove("a"), Deno.errors.InvalidData);
  await assertRejects(() => store.save("a", bytes("1")));
  assertEquals(namesIn(store.basePath, "a.bin"), ["within"]);
  assertEquals(namesIn(store.tmpPath), []);
});

test("a symbolic link in place of a payload is not followed", async () => {
  await using made = await tempFileStore();
  const { dir, store } = made;
  await Deno.writeTextFile(dir.join("secret"), "secret");
  await Deno.symlink(dir.join("secret"), join(store.basePath, "a.bin"));
  await assertRejects(() => store.load("a"), Deno.errors.InvalidData);
  // Saving puts a file in its place; what it led to stays as it is.
  await store.save("a", bytes("new"));
  assertEquals(text(await store.load("a")), "new");
  assertEquals(await Deno.readTextFile(dir.join("secret")), "secret");
}, { ignore: IS_WINDOWS });

test("digest() gives digest and size without the bytes", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  assertEquals(await store.digest("a"), null);
  for (const size of [0, 1, 65_536, 65_537, 600_000]) {
    const payload = randomBytes(size, size);
    await store.save("a", payload);
    assertEquals(await store.digest("a"), {
      digest: await sha256Hex(payload),
      size,
    });
  }
});

test("open() gives the file and its size; null when there is none", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  assertEquals(store.open("a"), null);
  await store.save("a", bytes("abc"));
  const opened = store.open("a")!;
  using _ = opened.file;
  assertEquals(opened.size, 3);
});

test("place() puts a payload in its place, new or not, any size", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  for (const size of [3, 100_000, 0, 70_000, 5]) {
    const payload = randomBytes(size, size);
    await store.place("A/b", payload);
    assertBytes(await store.load("A/b"), payload);
  }
  assertEquals(namesIn(store.tmpPath), []);
  await store.sync(["A/b", "never there"]);
});

test("sync() throws what the disk refused, a name as well as bytes", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  for (const txId of ["a", "b"]) await store.place(txId, bytes(txId));
  {
    using _ = refusingDisk((sync) => sync === 0);
    await assertRejects(() => store.sync(["a", "b"]), AggregateError, "a.bin:");
  }
  if (IS_WINDOWS) return; // which syncs no names
  using _ = refusingDisk((sync) => sync === 2); // after both files: their names
  const refused: string[] = [];
  await store.sync(["a", "b"], (txId) => refused.push(txId));
  assertEquals(refused, ["a", "b"]);
});

test("a staged payload is no payload before it is in its place", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  const payload = randomBytes(300_000);
  const { name, digest, size } = await store.stage([payload]);
  await store.syncStaged();
  assertEquals([digest, size], [await sha256Hex(payload), 300_000]);
  assertEquals(await store.listKeys(), []);
  assertBytes(await store.loadStaged(name), payload);
  const opened = store.openStaged(name)!;
  assertEquals(opened.size, 300_000);
  opened.file.close();

  assertEquals(await store.placeStaged("a", name), true);
  assertBytes(await store.load("a"), payload);
  assertEquals(namesIn(store.stagedPath), []);
  assertEquals(await store.placeStaged("a", name), false);
  assertEquals(await store.loadStaged(name), null);
  assertEquals(store.openStaged(name), null);
  assertBytes(await store.load("a"), payload);
});

test("unstage() removes a staged payload, once or twice", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  const { name } = await store.stage([bytes("x")]);
  store.unstage(name);
  store.unstage(name);
  assertEquals(namesIn(store.stagedPath), []);
});

test("discard() removes the id's file, once or twice", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await store.save("a", bytes("1"));
  await store.save("a%2Fb", bytes("2"));
  await store.save("a/b", bytes("3"));
  for (const id of ["a", "a", "a%2Fb"]) store.discard(id);
  assertEquals(await store.listKeys(), ["a/b"]);
});

test("saving where the base is gone fails and says so", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await Deno.remove(store.basePath, { recursive: true });
  await assertRejects(
    () => store.save("a", bytes("1")),
    Deno.errors.NotFound,
  );
  assertEquals(await store.load("a"), null);
  assert(!await store.exists("a"));
});
