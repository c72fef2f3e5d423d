// Base64 in one form only, by the language or by hand.

import { assertEquals } from "@std/assert";
import { byTable, fromBase64, toBase64 } from "../../src/proofs/encoding.ts";

/** What both make of a text; null where they refuse. */
function read(text: string): number[] | null {
  let found: number[] | null;
  try {
    found = [...fromBase64(text, "text")];
  } catch {
    found = null;
  }
  const byHand = byTable(text);
  assertEquals(found, byHand && [...byHand], JSON.stringify(text));
  return found;
}

Deno.test("bytes go to base64 and back", () => {
  for (const length of [0, 1, 2, 3, 31, 32, 1023, 1024, 1025, 8192]) {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 37);
    const text = toBase64(bytes);
    assertEquals(read(text), [...bytes]);
    const plain = Object.assign(bytes.slice(), { toBase64: undefined });
    assertEquals(toBase64(plain as never), text);
  }
});

Deno.test("no other spelling of the same bytes is read", () => {
  assertEquals(read("AA=="), [0]);
  for (
    const odd of [
      ...["AB==", "AAB=", "AA=", "AA", "A", "A===", "=", "AA==AA==", "AA==\n"],
      ...[" AA==", "A A=", "AA= =", "A-_=", "AA\u00a0=", "\u{1f600}", "AAAA="],
    ]
  ) assertEquals(read(odd), null, JSON.stringify(odd));
});
