/**
 * What every {@linkcode PayloadStore} does.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InvalidTxIdError } from "../../mod.ts";
import type { PayloadStore } from "../../src/model/store.ts";
import { assertBytes, bytes, randomBytes, text } from "../helpers.ts";
import { suite } from "./suite.ts";

/** A store to test, and what ends with it. */
export interface PayloadStoreCase extends AsyncDisposable {
  /** An empty store. */
  store: PayloadStore;
  /** The same payloads, by an instance that knows nothing of the first. */
  again(): PayloadStore | Promise<PayloadStore>;
}

/** Ids that an implementation may take for something else, or for each other. */
export const TRICKY_IDS = [
  "a",
  "A",
  "../x",
  "../../x",
  "a/b",
  "a\\b",
  "/a",
  "C:\\a",
  ".",
  "..",
  ".hidden",
  ".poh",
  "CON",
  "con",
  "con.txt",
  "nul",
  "a.",
  "a ",
  " a",
  "a.bin",
  "%41",
  "%2541",
  "%",
  "100%",
  '*?"<>|',
  "a:b",
  "line\nbreak",
  "取引",
  "が",
  "か\u3099", // the same to the eye, not composed
  "é",
  "É",
  "ß",
  "ss",
  "🪙",
  "👩‍👩‍👧",
  "\uFEFFa", // a byte order mark
  "a\u200b", // nothing to see
  "x".repeat(200),
];

/** Ids that no store takes. */
export const INVALID_IDS: Record<string, string> = {
  "an empty id": "",
  "an id with NUL": "a\0b",
  "an id with an unpaired surrogate": "a\ud800",
  "an id of 4,000 characters": "x".repeat(4_000),
};

/** Declares the tests. */
export function testPayloadStore(
  name: string,
  make: () => Promise<PayloadStoreCase>,
  options: { ignore?: boolean; timeout?: number } = {},
): void {
  const test = suite(name, make, options);

  test("load() gives what save() took", async ({ store, again }) => {
    await store.save("a", bytes("hello"));
    assertEquals(await store.load("a"), bytes("hello"));
    assertEquals(await (await again()).load("a"), bytes("hello"));
  });

  test("an unknown id has no payload", async ({ store }) => {
    await store.save("ab", bytes("x"));
    assertEquals(await store.load("a"), null);
    assertEquals(await store.exists("a"), false);
    assertEquals(await store.remove("a"), false);
  });

  test("payloads of all sizes come back byte for byte", async ({ store }) => {
    for (const size of [0, 1, 65_535, 65_536, 65_537, 1 << 20]) {
      const payload = randomBytes(size, size);
      await store.save(`size-${size}`, payload);
      assertBytes(await store.load(`size-${size}`), payload);
    }
  });

  test("an empty payload is a payload", async ({ store }) => {
    await store.save("a", new Uint8Array());
    assertEquals(await store.exists("a"), true);
    assertEquals(await store.load("a"), new Uint8Array());
    assertEquals(await store.listKeys(), ["a"]);
  });

  test("save() replaces, shorter and longer", async ({ store }) => {
    for (const payload of ["first", "the second one", "3"]) {
      await store.save("a", bytes(payload));
      assertEquals(text(await store.load("a")), payload);
    }
    assertEquals(await store.listKeys(), ["a"]);
  });

  test("a view is saved without what lies around it", async ({ store }) => {
    await store.save("a", bytes("xabcx").subarray(1, 4));
    assertEquals(text(await store.load("a")), "abc");
  });

  test("what load() gave is the caller's own", async ({ store }) => {
    await store.save("a", bytes("abc"));
    (await store.load("a"))!.fill(0);
    assertEquals(text(await store.load("a")), "abc");
  });

  test("remove() removes this payload alone", async ({ store, again }) => {
    await store.save("a", bytes("1"));
    await store.save("b", bytes("2"));
    assertEquals(await store.remove("a"), true);
    assertEquals(await store.exists("a"), false);
    assertEquals(await store.load("a"), null);
    assertEquals(await store.remove("a"), false);
    assertEquals(text(await store.load("b")), "2");
    assertEquals(await (await again()).listKeys(), ["b"]);
    await store.save("a", bytes("3"));
    assertEquals(text(await store.load("a")), "3");
  });

  test("an empty store has no keys", async ({ store }) => {
    assertEquals(await store.listKeys(), []);
  });

  test("listKeys() gives every id once", async ({ store }) => {
    const ids = Array.from({ length: 50 }, (_, n) => `id-${n}`).sort();
    await Promise.all(ids.map((id) => store.save(id, bytes(id))));
    assertEquals((await store.listKeys()).sort(), ids);
  });

  test("no two ids share a payload", async ({ store, again }) => {
    for (const id of TRICKY_IDS) await store.save(id, bytes(`of ${id}`));
    for (const one of [store, await again()]) {
      for (const id of TRICKY_IDS) {
        assertEquals(await one.exists(id), true, id);
        assertEquals(text(await one.load(id)), `of ${id}`);
      }
      assertEquals((await one.listKeys()).sort(), TRICKY_IDS.toSorted());
    }
  });

  test("an id that looks like another's does not reach it", async ({ store }) => {
    for (const id of TRICKY_IDS) {
      await store.save(id, bytes(id));
      await Promise.all(TRICKY_IDS.map(async (other) => {
        if (other === id) return;
        assertEquals(await store.remove(other), false, `${other} for ${id}`);
        assertEquals(await store.exists(other), false, `${other} for ${id}`);
        assertEquals(await store.load(other), null, `${other} for ${id}`);
      }));
      assertEquals(await store.remove(id), true, id);
    }
  });

  for (const [what, id] of Object.entries(INVALID_IDS)) {
    test(`save() refuses ${what}, and keeps nothing`, async ({ store }) => {
      await assertRejects(() => store.save(id, bytes("x")), InvalidTxIdError);
      assertEquals(await store.listKeys(), []);
    });
  }

  test("saves in flight at once all land", async ({ store }) => {
    const ids = Array.from({ length: 100 }, (_, n) => `${n}`);
    await Promise.all(ids.map((id) => store.save(id, bytes(`of ${id}`))));
    for (const id of ids) assertEquals(text(await store.load(id)), `of ${id}`);
  });

  test("saves of one id at once leave one of them, whole", async ({ store }) => {
    const payloads = Array.from(
      { length: 20 },
      (_, n) => randomBytes(5_000, n),
    );
    await Promise.all(payloads.map((payload) => store.save("a", payload)));
    const found = await store.load("a");
    assert(payloads.some((p) => p.every((byte, at) => byte === found?.[at])));
    assertEquals(found?.length, 5_000);
    assertEquals(await store.listKeys(), ["a"]);
  });
}
