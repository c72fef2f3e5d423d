import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { FileStore, type FileStoreOptions } from "../../mod.ts";
import { testPayloadStore } from "../contract/payload_store.ts";
import {
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
    const { dir, base, store } = await tempFileStore({ sync });
    return {
      store,
      again: () => new FileStore(base, { sync }),
      [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
    };
  });
}

async function tempFileStore(options: FileStoreOptions = {}) {
  const dir = await tempDir();
  const base = dir.join("base");
  return {
    dir,
    base,
    store: new FileStore(base, options),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

test("a new FileStore touches nothing before the first save", async () => {
  await using made = await tempFileStore();
  const { dir, base, store } = made;
  assertEquals(await store.listKeys(), []);
  assertEquals(await store.load("a"), null);
  assertEquals(await store.exists("a"), false);
  assertEquals(await store.remove("a"), false);
  await assertRejects(() => store.save("", bytes("x")));
  assertEquals(namesIn(dir.path), []);
  await store.save("a", bytes("x"));
  assertEquals(namesIn(base), [".poh", "a.bin"]);
  assertEquals(namesIn(base, ".poh"), ["staged", "tmp"]);
});

test("a payload is one file that holds its bytes and nothing else", async () => {
  await using made = await tempFileStore();
  const { base, store } = made;
  await store.save("tx1", bytes("hello"));
  assertEquals(namesIn(base), [".poh", "tx1.bin"]);
  assertEquals(
    await Deno.readTextFile(join(base, "tx1.bin")),
    "hello",
  );
});

test("save(), replace and remove() leave no temporary file", async () => {
  await using made = await tempFileStore();
  const { base, store } = made;
  for (const size of [10, 200_000]) {
    await store.save("a", randomBytes(size));
    await store.save("a", randomBytes(size, 2));
  }
  await store.remove("a");
  assertEquals(await filesBelow(base), {});
});

test("ids that look like paths leave no trace outside the base", async () => {
  await using made = await tempFileStore();
  const { dir, base, store } = made;
  for (const id of ["../x", "../../x", "/x", "..\\x", "a/../../../x", ".."]) {
    await store.save(id, bytes(id));
  }
  assertEquals(namesIn(dir.path), ["base"]);
  assertEquals(namesIn(base).length, 1 + 6);
});

test("files that are no payloads are not listed", async () => {
  await using made = await tempFileStore();
  const { base, store } = made;
  await store.save("first", bytes("x"));
  for (const name of ["poh.db", "poh.db-wal", "notes.txt", ".DS_Store"]) {
    await Deno.writeTextFile(join(base, name), "x");
  }
  await store.save("a", bytes("1"));
  assertEquals((await store.listKeys()).sort(), ["a", "first"]);
});

test("a directory in place of a payload is refused and left alone", async () => {
  await using made = await tempFileStore();
  const { base, store } = made;
  await Deno.mkdir(join(base, "a.bin", "within"), {
    recursive: true,
  });
  await assertRejects(() => store.load("a"), Deno.errors.InvalidData);
  await assertRejects(() => store.exists("a"), Deno.errors.InvalidData);
  await assertRejects(() => store.remove("a"), Deno.errors.InvalidData);
  await assertRejects(() => store.save("a", bytes("1")));
  assertEquals(namesIn(base, "a.bin"), ["within"]);
  assertEquals(namesIn(base, ".poh", "tmp"), []);
});

test("a symbolic link in place of a payload is not followed", async () => {
  await using made = await tempFileStore();
  const { dir, base, store } = made;
  await store.save("first", bytes("x"));
  await Deno.writeTextFile(dir.join("secret"), "secret");
  await Deno.symlink(dir.join("secret"), join(base, "a.bin"));
  await assertRejects(() => store.load("a"), Deno.errors.InvalidData);
  // Saving puts a file in its place; what it led to stays as it is.
  await store.save("a", bytes("new"));
  assertEquals(text(await store.load("a")), "new");
  assertEquals(await Deno.readTextFile(dir.join("secret")), "secret");
}, { ignore: IS_WINDOWS });

test("saving where the base is gone fails and says so", async () => {
  await using made = await tempFileStore();
  const { base, store } = made;
  await store.save("first", bytes("x"));
  await Deno.remove(base, { recursive: true });
  await assertRejects(
    () => store.save("a", bytes("1")),
    Deno.errors.NotFound,
  );
  assertEquals(await store.load("a"), null);
  assert(!await store.exists("a"));
});

test("a save is waited for, unless told otherwise", async () => {
  await using made = await tempFileStore();
  const { base, store } = made;
  const relaxed = new FileStore(base, { sync: false });
  const durable = new FileStore(base, { sync: true });
  await store.save("a", bytes("1"));
  using _ = refusingDisk(() => true);
  await assertRejects(() => store.save("a", bytes("2")), Error, "os error 5");
  await assertRejects(() => durable.save("a", bytes("2")), Error, "os error 5");
  await relaxed.save("a", bytes("3"));
  assertEquals(text(await store.load("a")), "3");
  if (!IS_WINDOWS) await assertRejects(() => store.remove("a"));
});

test("a base that is no directory is told", async () => {
  await using made = await tempFileStore();
  await Deno.writeTextFile(made.base, "x");
  await assertRejects(() => made.store.listKeys());
  await assertRejects(() => made.store.save("a", bytes("1")));
});
