import { assertEquals, assertRejects } from "@std/assert";
import { sha256Hex, sha256HexOfStream } from "../../mod.ts";
import { digestOf, Sha256, sha256HexSync } from "../../src/files/hash.ts";
import { bytes, randomBytes } from "../helpers.ts";

/** FIPS 180-4 examples, from NIST's Cryptographic Standards site. */
const VECTORS: [string, Uint8Array<ArrayBuffer>, string][] = [
  [
    "no bytes",
    new Uint8Array(),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  ],
  [
    '"abc"',
    bytes("abc"),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  ],
  [
    "the 448-bit message",
    bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  ],
  [
    'a million "a"',
    bytes("a".repeat(1_000_000)),
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
  ],
];

for (const [what, input, digest] of VECTORS) {
  Deno.test(`sha256Hex() gives NIST's digest of ${what}`, async () => {
    assertEquals(await sha256Hex(input), digest);
  });

  Deno.test(`sha256HexOfStream() gives NIST's digest of ${what}`, async () => {
    for (const size of [1_000, 65_536, 1_000_001]) {
      assertEquals(await sha256HexOfStream(pieces(input, size)), digest);
    }
    assertEquals(await sha256HexOfStream(new Blob([input]).stream()), digest);
  });

  Deno.test(`the synchronous forms give NIST's digest of ${what}`, async () => {
    assertEquals(sha256HexSync(input), digest);
    assertEquals(await digestOf(input), digest);
  });
}

Deno.test("sha256Hex() of a view takes the view's bytes only", async () => {
  const view = bytes("xabcx").subarray(1, 4);
  assertEquals(await sha256Hex(view), VECTORS[1]![2]);
  assertEquals(sha256HexSync(view), VECTORS[1]![2]);
});

Deno.test("all forms agree, whatever the size and the pieces", async () => {
  for (const size of [55, 56, 63, 64, 65, 262_144, 262_145]) {
    const input = randomBytes(size, size);
    const digest = await sha256Hex(input);
    assertEquals(await digestOf(input), digest);
    assertEquals(await sha256HexOfStream(pieces(input, 1_000)), digest);
    const hash = new Sha256();
    hash.update(input.subarray(0, 13));
    hash.update(new Uint8Array());
    hash.update(input.subarray(13));
    assertEquals(hash.hex(), digest);
  }
});

Deno.test("sha256HexOfStream() passes on the error of its stream", async () => {
  async function* broken() {
    yield bytes("a");
    await Promise.reject(new RangeError("broken"));
  }
  await assertRejects(() => sha256HexOfStream(broken()), RangeError, "broken");
});

async function* pieces(input: Uint8Array, size: number) {
  for (let at = 0; at < input.length; at += size) {
    yield await Promise.resolve(input.subarray(at, at + size));
  }
}
