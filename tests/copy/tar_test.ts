import { assert, assertEquals, assertRejects } from "@std/assert";
import { readTar, TarWriter } from "../../src/copy/tar.ts";
import { bytes, randomBytes, test, text } from "../helpers.ts";

function pipe(): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream();
}

/** The names and the bytes of an archive. */
async function contentsOf(from: ReadableStream<Uint8Array>) {
  const contents: [string, Uint8Array][] = [];
  for await (const { name, bytes } of readTar(from)) {
    const chunks = await Array.fromAsync(bytes);
    const blob = new Blob(chunks as BlobPart[]);
    contents.push([name, new Uint8Array(await blob.arrayBuffer())]);
  }
  return contents;
}

test("what is written is read back, in its order, whatever the names", async () => {
  const large = randomBytes(300_000);
  const entries: [string, Uint8Array][] = [
    ["a.bin", bytes("a")],
    ["empty.bin", bytes("")],
    [`${"long".repeat(60)}.bin`, bytes("long")],
    ["Ç %2F 日本.bin", bytes("unicode")],
    ["large.bin", large],
    ["z.bin", bytes("z")],
  ];
  const { readable, writable } = pipe();
  const read = contentsOf(readable);
  const tar = await TarWriter.create(writable);
  // At once: each waits for those before it.
  await Promise.all(entries.map(([name, content]) => {
    const half = content.length >> 1;
    const pieces = [content.subarray(0, half), content.subarray(half)];
    return tar.add(name, content.length, pieces);
  }));
  await tar.finish();
  const found = await read;
  assertEquals(found.map(([name]) => name), entries.map(([name]) => name));
  assert(
    found.every(([, content], n) =>
      content.length === entries[n]![1].length &&
      content.every((byte, at) => byte === entries[n]![1][at])
    ),
  );
});

test("a source that fails fails the archive", async () => {
  const { readable, writable } = pipe();
  const read = contentsOf(readable);
  const tar = await TarWriter.create(writable);
  const failing = async function* () {
    yield bytes("begun");
    await Promise.resolve();
    throw new Deno.errors.PermissionDenied("no");
  };
  await assertRejects(
    () => tar.add("a.bin", 100, failing()),
    Deno.errors.PermissionDenied,
  );
  await assertRejects(() => read, Error, "no");
});

test("a size that was announced has to be kept", async () => {
  for (const size of [4, 6]) {
    const { readable, writable } = pipe();
    const read = contentsOf(readable).catch(() => "cut");
    const tar = await TarWriter.create(writable);
    await assertRejects(
      () => tar.add("a.bin", size, [bytes("hello")]),
      Error,
      "Size mismatch",
    );
    assertEquals(await read, "cut");
  }
});

test("an archive that is given up is cut for its reader", async () => {
  const { readable, writable } = pipe();
  const read = contentsOf(readable);
  const tar = await TarWriter.create(writable);
  await tar.add("a.bin", 1, [bytes("a")]);
  await tar.abort(new Error("given up"));
  await assertRejects(() => read, Error, "given up");
});

test("reading may end before the archive does", async () => {
  const { readable, writable } = pipe();
  const tar = await TarWriter.create(writable);
  const written = Promise.all(
    [1, 2, 3].map((n) =>
      tar.add(`${n}.bin`, 300_000, [randomBytes(300_000, n)])
    ),
  );
  const failed = assertRejects(() => written);
  for await (const { name, bytes } of readTar(readable)) {
    assertEquals(name, "1.bin");
    for await (const chunk of bytes) assert(text(chunk).length > 0);
    break;
  }
  await failed;
  await tar.abort(new Error("nobody reads it"));
});
