import { assertEquals } from "@std/assert";
import * as here from "../../src/proofs/sha256_short.ts";
import { hex } from "./sample.ts";

/** The module as it is where there is no runtime to ask, as in a browser. */
async function alone(): Promise<typeof here> {
  const url = new URL(
    "../../src/proofs/sha256_short.ts?alone",
    import.meta.url,
  );
  const given = Object.getOwnPropertyDescriptor(globalThis, "process")!;
  Reflect.deleteProperty(globalThis, "process");
  try {
    const module: typeof here = await import(url.href);
    new module.Sha256(); // looks for it
    return module;
  } finally {
    Object.defineProperty(globalThis, "process", given);
  }
}

async function expected(bytes: Uint8Array): Promise<string> {
  return hex(
    new Uint8Array(
      await crypto.subtle.digest("SHA-256", bytes as BufferSource),
    ),
  );
}

const data = Uint8Array.from(
  { length: 70_000 },
  (_, i) => (i * 7 + (i >> 8)) & 255,
);

for (
  const [where, module] of [["Deno", here], [
    "a browser",
    await alone(),
  ]] as const
) {
  Deno.test(`SHA-256 of every length to 700, and of longer input, as in ${where}`, async () => {
    for (let length = 0; length <= 700; length++) {
      const bytes = data.subarray(0, length);
      assertEquals(hex(module.sha256(bytes)), await expected(bytes));
    }
    assertEquals(hex(module.sha256(data)), await expected(data));
  });

  Deno.test(`SHA-256 of leaves, nodes and pieces, as in ${where}`, async () => {
    for (const length of [0, 1, 43, 54, 55, 56, 255, 256, 257, 5000]) {
      const entry = data.subarray(3, 3 + length);
      const leaf = new Uint8Array([0, ...entry]);
      assertEquals(hex(module.leafHash(entry)), await expected(leaf));
    }
    const [left, right] = [data.subarray(0, 32), data.subarray(32, 64)];
    assertEquals(
      hex(module.nodeHash(left, right)),
      await expected(new Uint8Array([1, ...left, ...right])),
    );
    for (const step of [1, 63, 64, 65, 1000]) {
      const hash = new module.Sha256();
      for (let at = 0; at < 3000; at += step) {
        hash.update(data.subarray(at, Math.min(3000, at + step)));
      }
      assertEquals(hex(hash.digest()), await expected(data.subarray(0, 3000)));
    }
  });
}
