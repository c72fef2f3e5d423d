import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { sha256Hex } from "../../mod.ts";
import { readSoon } from "../../src/payloads/payload_file.ts";
import { PayloadFiles } from "../../src/payloads/payload_files.ts";
import { isWaiting, waitingName } from "../../src/payloads/staged_files.ts";
import type { TxInfo } from "../../src/types.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import {
  assertBytes,
  bytes,
  IS_WINDOWS,
  namesIn,
  randomBytes,
  refusingDisk,
  tempDir,
  test,
} from "../helpers.ts";

async function tempFiles() {
  const dir = await tempDir();
  const files = new PayloadFiles(dir.join("base"));
  await files.init();
  return {
    dir,
    files,
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  };
}

async function idsOf(files: PayloadFiles): Promise<(string | null)[]> {
  return await Array.fromAsync(files.files(), ({ txId }) => txId);
}

test("a new PayloadFiles touches nothing before init()", async () => {
  await using dir = await tempDir();
  const files = new PayloadFiles(dir.join("base"));
  assertEquals(namesIn(dir.path), []);
  await files.init();
  await files.init();
  assertEquals(namesIn(files.basePath), [".poh"]);
  assertEquals(namesIn(files.basePath, ".poh"), ["staged", "tmp"]);
});

test("what a row says is soon told from what is there", async () => {
  await using temp = await tempFiles();
  const { files } = temp;
  const row = sampleInfo({
    storageHash: await sha256Hex(bytes("abc")),
    size: 3,
  });
  const soon = (row: TxInfo) => readSoon(files.expected(row));
  assertEquals(soon(row), null);
  await files.place("a", bytes("abc"));
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
  await files.place("a", bytes("abd"));
  assertEquals(soon(row), null);
});

test("a file whose name is given to no id is no payload", async () => {
  await using made = await tempFiles();
  const { files } = made;
  for (const name of ["CON.bin", "a%.bin", "e\u0301.bin"]) {
    await Deno.writeTextFile(join(files.basePath, name), "x");
    const txId = name.slice(0, -4);
    assertEquals(await files.load(txId), null, name);
    assertEquals(files.find(txId), null, name);
  }
  const found = await Array.fromAsync(files.files());
  assertEquals(found.map(({ txId }) => txId), [null, null, null]);
}, { ignore: IS_WINDOWS });

test("digest() gives digest and size without the bytes", async () => {
  await using made = await tempFiles();
  const { files } = made;
  assertEquals(await files.digest("a"), null);
  for (const size of [0, 1, 65_536, 65_537, 600_000]) {
    const payload = randomBytes(size, size);
    await files.place("a", payload);
    assertEquals(await files.digest("a"), {
      digest: await sha256Hex(payload),
      size,
    });
  }
});

test("open() gives the file and its size; null when there is none", async () => {
  await using made = await tempFiles();
  const { files } = made;
  assertEquals(files.open("a"), null);
  await files.place("a", bytes("abc"));
  const opened = files.open("a")!;
  using _ = opened.file;
  assertEquals(opened.size, 3);
});

test("place() puts a payload in its place, new or not, any size", async () => {
  await using made = await tempFiles();
  const { files } = made;
  for (const size of [3, 100_000, 0, 70_000, 5]) {
    const payload = randomBytes(size, size);
    await files.place("A/b", payload);
    assertBytes(await files.load("A/b"), payload);
  }
  assertEquals(namesIn(files.tmpPath), []);
  await files.sync(["A/b", "never there"]);
});

test("sync() throws what the disk refused, a name as well as bytes", async () => {
  await using made = await tempFiles();
  const { files } = made;
  for (const txId of ["a", "b"]) await files.place(txId, bytes(txId));
  {
    using _ = refusingDisk((sync) => sync === 0);
    await assertRejects(() => files.sync(["a", "b"]), AggregateError, "a.bin:");
  }
  if (IS_WINDOWS) return; // which syncs no names
  using _ = refusingDisk((sync) => sync === 2); // after both files: their names
  const refused: string[] = [];
  await files.sync(["a", "b"], (txId) => refused.push(txId));
  assertEquals(refused, ["a", "b"]);
});

test("a staged payload is no payload before it is in its place", async () => {
  await using made = await tempFiles();
  const { files } = made;
  const payload = randomBytes(300_000);
  const { name, digest, size } = await files.staged.add([payload]);
  await files.staged.sync();
  assertEquals([digest, size], [await sha256Hex(payload), 300_000]);
  assertEquals(await idsOf(files), []);
  assertBytes(await files.staged.load(name), payload);
  const opened = files.staged.open(name)!;
  assertEquals(opened.size, 300_000);
  opened.file.close();

  assertEquals(await files.placeStaged("a", name), true);
  assertBytes(await files.load("a"), payload);
  assertEquals(namesIn(files.staged.path), []);
  assertEquals(await files.placeStaged("a", name), false);
  assertEquals(await files.staged.load(name), null);
  assertEquals(files.staged.open(name), null);
  assertBytes(await files.load("a"), payload);
});

test("unstage() removes a staged payload, once or twice", async () => {
  await using made = await tempFiles();
  const { files } = made;
  const { name } = await files.staged.add([bytes("x")]);
  files.staged.remove(name);
  files.staged.remove(name);
  assertEquals(namesIn(files.staged.path), []);
});

test("discard() removes the id's file, once or twice", async () => {
  await using made = await tempFiles();
  const { files } = made;
  await files.place("a", bytes("1"));
  await files.place("a%2Fb", bytes("2"));
  await files.place("a/b", bytes("3"));
  for (const id of ["a", "a", "a%2Fb"]) files.discard(id);
  assertEquals(await idsOf(files), ["a/b"]);
});

test("what is put in its place is not waited for, of any size", async () => {
  await using made = await tempFiles();
  const { files } = made;
  const staged = await files.staged.add([bytes("staged")]);
  using _ = refusingDisk(() => true);
  for (const size of [3, 100_000]) {
    for (let n = 0; n < 2; n++) { // new, and in place of another
      const payload = randomBytes(size, n);
      await files.place(`${size}`, payload);
      assertBytes(await files.load(`${size}`), payload);
    }
  }
  assertEquals(await files.placeStaged("a", staged.name), true);
});

test("where the base is gone nothing is put in its place", async () => {
  await using made = await tempFiles();
  const { files } = made;
  await Deno.remove(files.basePath, { recursive: true });
  await assertRejects(
    () => files.place("a", bytes("1")),
    Deno.errors.NotFound,
  );
});

test("that names are gone is waited for without any file", async () => {
  await using made = await tempFiles();
  const { files } = made;
  const relaxed = new PayloadFiles(files.basePath, { sync: false });
  await files.sync([]);
  using _ = refusingDisk(() => true);
  await assertRejects(() => files.sync([]), Error, "os error 5");
  await relaxed.sync(["a"]);
  await relaxed.syncFolders();
}, { ignore: IS_WINDOWS });

test("a file is looked at by its place", async () => {
  await using made = await tempFiles();
  const { files } = made;
  assertEquals(await files.digestOfFile("a.bin"), null);
  await files.place("a", bytes("abc"));
  assertEquals(await files.digestOfFile("a.bin"), {
    digest: await sha256Hex(bytes("abc")),
    size: 3,
  });
  assertEquals(files.hasOwnNames, true);
  assertEquals(files.txIdsOf("a.bin"), ["a"]);
  assertEquals(files.placesOf("a"), ["a.bin"]);
});

test("files of a store that is not upgraded are where its rules say", async () => {
  await using made = await tempFiles();
  const earlier = {
    placesOf: (txId: string) => txId === "no" ? [] : [`x-${txId}`, `y-${txId}`],
    txIdsOf: (place: string) => [place.slice(2, -4), "other"],
  };
  const files = new PayloadFiles(made.files.basePath, {}, earlier);
  assertEquals(files.hasOwnNames, false);
  assertEquals([files.find("a"), await files.load("a")], [null, null]);
  await Deno.writeTextFile(join(files.basePath, "y-a"), "2");
  assertEquals([files.find("a"), files.open("no")], ["y-a", null]);
  assertEquals(await files.load("a"), bytes("2"));
  await Deno.writeTextFile(join(files.basePath, "x-a"), "1");
  assertEquals(await files.load("a"), bytes("1"));
  const row = sampleInfo({ size: 1, storageHash: await sha256Hex(bytes("1")) });
  assertEquals(readSoon(files.expected(row)), bytes("1"));
  assertEquals(files.expected({ ...row, txId: "no" }).path, "");
  await Deno.writeTextFile(join(files.basePath, "x-b.bin"), "");
  assertEquals(await idsOf(files), ["b"]);
});

test("a staged payload is waited for, and its name, where they are to be", async () => {
  await using made = await tempFiles();
  const { staged, basePath } = made.files;
  const relaxed = new PayloadFiles(basePath, { sync: false }).staged;
  using _ = refusingDisk(() => true);
  await assertRejects(() => staged.add([bytes("1")]), Error, "os error 5");
  if (!IS_WINDOWS) {
    await assertRejects(() => staged.sync(), Error, "os error 5");
  }
  await relaxed.add([bytes("1")]);
  await relaxed.sync();
});

test("a staged payload is taken once", async () => {
  await using made = await tempFiles();
  const { staged } = made.files;
  const { name } = await staged.add([bytes("a"), bytes("b")]);
  assertEquals(await staged.take(name), bytes("ab"));
  await assertRejects(
    () => staged.take(name),
    Deno.errors.NotFound,
    `The staged payload ${name} is gone`,
  );
  assertEquals(namesIn(staged.path), []);
});

test("the name under which a payload waits tells id and digest", async () => {
  const row = sampleInfo({ storageHash: "ab".repeat(32) });
  const name = waitingName(row);
  assertEquals(isWaiting(name), true);
  assertEquals(name.endsWith(`-${row.storageHash}`), true);
  assertEquals(waitingName({ ...row, size: 99 }), name);
  assertEquals(waitingName({ ...row, txId: "b" }) === name, false);
  for (const other of [crypto.randomUUID(), `${name}x`, `x${name}`, "a-b"]) {
    assertEquals(isWaiting(other), false);
  }
  await Promise.resolve();
});
