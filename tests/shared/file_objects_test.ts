// Objects in a folder, and where case does not count.

import { assertEquals, assertRejects } from "@std/assert";
import { sha256Hex } from "../../mod.ts";
import { FileObjects } from "../../src/shared/file_objects.ts";
import { testObjectStore } from "../contract/object_store.ts";
import { bytes, namesIn, tempDir, test } from "../helpers.ts";

testObjectStore("FileObjects", async () => {
  const dir = await tempDir();
  const store = new FileObjects(dir.path, { sync: false });
  await store.init();
  return {
    store,
    again: () => new FileObjects(dir.path, { sync: false }),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
});

test("objects are the files of a local store, and leave nothing behind", async () => {
  await using dir = await tempDir();
  const store = new FileObjects(dir.path);
  await store.init();
  const payload = bytes("hello");
  const digest = await sha256Hex(payload);
  const version = `.poh/versions/${digest}.${crypto.randomUUID()}/a%2Fb.bin`;
  await store.create("a%2Fb.bin", payload, digest);
  await store.create(version, payload, digest);
  assertEquals(namesIn(dir.path), [".poh", "a%2Fb.bin"]);
  await store.delete(version);
  assertEquals(namesIn(dir.path, ".poh", "versions"), []);
  assertEquals(namesIn(dir.path, ".poh", "tmp"), []);
});

test("no key leads out of the folder", async () => {
  await using dir = await tempDir();
  const store = new FileObjects(dir.join("base"));
  await store.init();
  const digest = await sha256Hex(bytes("x"));
  for (
    const key of ["../a.bin", "/a.bin", "a/../../b.bin", "a\\b", "", "a\0"]
  ) {
    await assertRejects(() => store.create(key, bytes("x"), digest), TypeError);
    await assertRejects(async () => await store.read(key), TypeError);
  }
  assertEquals(namesIn(dir.path), ["base"]);
});
