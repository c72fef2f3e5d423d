import { assertEquals, assertRejects } from "@std/assert";
import { sha256Hex } from "../../mod.ts";
import { spool } from "../../src/shared/spool.ts";
import {
  assertBytes,
  denoScript,
  IS_WINDOWS,
  namesIn,
  randomBytes,
  tempDir,
  test,
  text,
} from "../helpers.ts";

/** Larger than what is held in memory. */
const LARGE = 5 * 1024 * 1024 + 1;

/** Bytes in pieces of all sizes, in a buffer that is used again. */
async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(600_000);
  for (let at = 0, n = 1; at < bytes.length; n++) {
    const piece = bytes.subarray(at, at + (n * 77_777) % buffer.length);
    buffer.set(piece);
    yield buffer.subarray(0, piece.length);
    at += piece.length;
  }
}

for (const size of [0, 1, 100_000, LARGE]) {
  test(`${size} bytes are the same each time they are read`, async () => {
    const bytes = randomBytes(size);
    await using whole = await spool(pieces(bytes));
    assertEquals([whole.size, whole.digest], [size, await sha256Hex(bytes)]);
    const { source } = whole;
    if (source instanceof Uint8Array) return assertBytes(source, bytes);
    const readers = [source.open(), source.open(), source.open()];
    for await (const _ of source.open()) break; // gives up
    const read = await Promise.all(readers.map((r) => Array.fromAsync(r)));
    for (const parts of read) {
      assertBytes(await new Blob(parts as BlobPart[]).bytes(), bytes);
    }
  });
}

test("what breaks off while it comes in is told", async () => {
  const broken = async function* () {
    yield* pieces(randomBytes(LARGE));
    throw new Error("broken off");
  };
  await assertRejects(() => spool(broken()), Error, "broken off");
});

test("nothing is left of it when the process is killed", async () => {
  await using dir = await tempDir();
  const child = denoScript("spool.ts", [`${LARGE}`], {
    stdin: "piped",
    stdout: "piped",
    env: { TMPDIR: dir.path },
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assertEquals(text(value!).trim(), await sha256Hex(new Uint8Array(LARGE)));
  const names = namesIn(dir.path);
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  await child.stdin.close().catch(() => {});
  assertEquals([names, namesIn(dir.path)], [[], []]);
}, { ignore: IS_WINDOWS });
