import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { FileStore, type FileStoreOptions, sha256Hex } from "../mod.ts";
import { sampleInfo } from "./contract/metadata_store.ts";
import { testPayloadStore } from "./contract/payload_store.ts";
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
} from "./helpers.ts";

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
  assertEquals(store.loadSoon(row), null);
  await store.save("a", bytes("abc"));
  assertEquals(store.loadSoon(row), bytes("abc"));
  for (
    const other of [
      { size: -1 },
      { size: 4 },
      { storageHash: "00".repeat(32) },
      { txId: "b" },
      { txId: "x".repeat(300) }, // no file can have its name
    ]
  ) assertEquals(store.loadSoon({ ...row, ...other }), null);
  await store.save("a", bytes("abd"));
  assertEquals(store.loadSoon(row), null);
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

test(
  "a verbatim name of the older package is found, listed and removed",
  async () => {
    await using made = await tempFileStore();
    const { store } = made;
    for (const id of ["CON", "a?b", "e\u0301", "100%"]) {
      await Deno.writeTextFile(join(store.basePath, `${id}.bin`), `of ${id}`);
      assertEquals(await store.exists(id), true, id);
      assertEquals(text(await store.load(id)), `of ${id}`);
      assertEquals(await store.listKeys(), [id]);
      assertEquals(await store.remove(id), true, id);
      assertEquals(namesIn(store.basePath), [".poh"]);
    }
  },
  { ignore: IS_WINDOWS },
);

test("the encoded name goes before the verbatim one", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await Deno.writeTextFile(join(store.basePath, "CON.bin"), "old");
  await store.save("CON", bytes("new"));
  assertEquals(text(await store.load("CON")), "new");
}, { ignore: IS_WINDOWS });

test("a name of a system with other case rules is found", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  const foreign = namesOf("Tx").find((name) => name !== store.find("Tx"))!;
  await Deno.writeTextFile(join(store.basePath, foreign), "of Tx");
  assertEquals(text(await store.load("Tx")), "of Tx");
  assertEquals(await store.listKeys(), ["Tx"]);
});

function namesOf(txId: string): string[] {
  const encoded = txId.replace(
    /[A-Z]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return IS_WINDOWS || Deno.build.os === "darwin"
    ? [`${txId}.bin`]
    : [`${encoded}.bin`];
}

test("a name that differs in case alone is another id's, or moves out of the way", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  // As the older package left it.
  await Deno.writeTextFile(join(store.basePath, "Tx.bin"), "of Tx");
  assertEquals(await store.load("tx"), null);
  assertEquals(await store.exists("tX"), false);
  assertEquals(await store.remove("tx"), false);
  await store.discard("tx", await sha256Hex(bytes("of Tx")));
  assertEquals(text(await store.load("Tx")), "of Tx");

  await store.save("tx", bytes("of tx"));
  await store.place("tX", bytes("of tX"));
  for (const id of ["Tx", "tx", "tX"]) {
    assertEquals(text(await store.load(id)), `of ${id}`);
  }
  assertEquals((await store.listKeys()).sort(), ["Tx", "tX", "tx"]);
  assertEquals(await store.remove("Tx"), true);
  assertEquals((await store.listKeys()).sort(), ["tX", "tx"]);
});

test("an older file in the way does not replace its id's newer one", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await store.save("A", bytes("newer"));
  const older = join(store.basePath, "A.bin");
  if (store.find("A") !== "A.bin") await Deno.writeTextFile(older, "older");
  await store.save("a", bytes("of a"));
  assertEquals(text(await store.load("A")), "newer");
  assertEquals(text(await store.load("a")), "of a");
  assertEquals((await store.listKeys()).sort(), ["A", "a"]);
});

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
    await assertRejects(() => store.sync(["a", "b"]), AggregateError, "a:");
  }
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

test("discard() removes the id's own file whatever it holds", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await store.save("a", bytes("1"));
  await store.discard("a", "00");
  await store.discard("a", "00");
  assertEquals(await store.listKeys(), []);
});

test(
  "discard() removes a file of another name only by its digest",
  async () => {
    await using made = await tempFileStore();
    const { store } = made;
    const path = join(store.basePath, "CON.bin");
    await Deno.writeTextFile(path, "of CON");
    await store.discard("CON", await sha256Hex(bytes("of another")));
    assertEquals(namesIn(store.basePath), [".poh", "CON.bin"]);
    await store.discard("CON", await sha256Hex(bytes("of CON")));
    assertEquals(namesIn(store.basePath), [".poh"]);
  },
  { ignore: IS_WINDOWS },
);

test("a file that is another id's by its name is read, never taken away", async () => {
  await using made = await tempFileStore();
  const { store } = made;
  await store.save("a/b", bytes("of a/b"));
  // The older package would have kept the payload of this id there.
  assertEquals(store.find("a%2Fb"), "a%2Fb.bin");
  assertEquals(store.findOwn("a%2Fb"), null);
  assertEquals(await store.remove("a%2Fb"), false);
  assertEquals(store.usersOf("a%2Fb.bin"), ["a/b", "a%2Fb"]);

  await store.save("a%2Fb", bytes("of a/b")); // the same bytes
  assertEquals(store.usersOf("a%2Fb.bin"), ["a/b"]);
  await store.discard("a%2Fb", await sha256Hex(bytes("of a/b")));
  assertEquals(text(await store.load("a/b")), "of a/b");
  assertEquals(namesIn(store.basePath), [".poh", "a%2Fb.bin"]);

  // With a row for it and no file of its own, the digest decides.
  await store.discard("a%2Fb", "00");
  assertEquals(await store.exists("a/b"), true);
  await store.discard("a%2Fb", await sha256Hex(bytes("of a/b")));
  assertEquals(await store.exists("a/b"), false);
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
