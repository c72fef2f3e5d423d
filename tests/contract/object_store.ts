/**
 * What every {@linkcode ObjectStore} does.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { sha256Hex } from "../../mod.ts";
import type { ObjectStore, PayloadSource } from "../../src/shared/contracts.ts";
import { plainKey, versionKey } from "../../src/shared/object_key.ts";
import {
  assertBytes,
  bytes,
  randomBytes,
  text,
  TIME_LIMIT,
} from "../helpers.ts";
import { TRICKY_IDS } from "./payload_store.ts";
import { suite } from "./suite.ts";

/** A store to test, and what ends with it. */
export interface ObjectStoreCase extends AsyncDisposable {
  /** An empty store. */
  store: ObjectStore;
  /** The same objects, by an instance that knows nothing of the first. */
  again(): ObjectStore | Promise<ObjectStore>;
}

/** Larger than what any store sends in one go. */
export const LARGE = 20 * 1024 * 1024 + 1;

/** Clocks of a store's parts may disagree by so much, in seconds. */
const CLOCKS = 2;

/** Declares the tests. */
export function testObjectStore(
  name: string,
  make: () => Promise<ObjectStoreCase>,
  options: { ignore?: boolean; timeout?: number } = {},
): void {
  const test = suite(name, make, options);

  test("read() and stream() give what create() took", async ({ store, again }) => {
    assertEquals(await put(store, "a.bin", bytes("hello")), true);
    for (const one of [store, await again()]) {
      assertEquals(text(await one.read("a.bin")), "hello");
      assertEquals(text(await drain(await one.stream("a.bin"))), "hello");
    }
  });

  test("there is nothing under an unknown key", async ({ store }) => {
    await put(store, "ab.bin", bytes("x"));
    for (const key of ["a.bin", "ab", "ab.bin.bin", ".poh/versions/ab.bin"]) {
      assertEquals(await store.read(key), null, key);
      assertEquals(await store.stream(key), null, key);
      await store.delete(key);
    }
    assertEquals(await keysOf(store), ["ab.bin"]);
  });

  test("payloads of all sizes come back byte for byte", async ({ store }) => {
    for (const size of [0, 1, 65_535, 65_536, 65_537, 1 << 20]) {
      const payload = randomBytes(size, size);
      await put(store, `${size}.bin`, payload);
      assertBytes(await store.read(`${size}.bin`), payload);
      assertBytes(await drain(await store.stream(`${size}.bin`)), payload);
    }
  });

  test("a payload comes in pieces of any size", async ({ store }) => {
    for (const size of [0, 1, 100_000]) {
      const payload = randomBytes(size, size);
      const source = inPieces(payload, 7_001);
      assertEquals(await put(store, `${size}.bin`, payload, source), true);
      assertBytes(await store.read(`${size}.bin`), payload);
    }
  });

  test("a large payload comes back, whole or in pieces", async ({ store }) => {
    const payload = randomBytes(LARGE);
    const source = inPieces(payload, 1_000_003);
    const digest = await sha256Hex(payload);
    assertEquals(await store.create("a.bin", source, digest), true);
    assertEquals(await store.create("b.bin", payload, digest), true);
    assertBytes(await store.read("a.bin"), payload);
    assertBytes(await drain(await store.stream("b.bin")), payload);
    assertEquals(await sizesOf(store), { "a.bin": LARGE, "b.bin": LARGE });
  });

  test("a view is stored without what lies around it", async ({ store }) => {
    await put(store, "a.bin", bytes("xabcx").subarray(1, 4));
    assertEquals(text(await store.read("a.bin")), "abc");
  });

  test("what read() gave is the caller's own", async ({ store }) => {
    await put(store, "a.bin", bytes("abc"));
    (await store.read("a.bin"))!.fill(0);
    assertEquals(text(await store.read("a.bin")), "abc");
  });

  test("a taken key is told, and what it has stays", async ({ store, again }) => {
    if (!await store.canCreateOnce()) return;
    await put(store, "a.bin", bytes("first"));
    for (const one of [store, await again()]) {
      assertEquals(await put(one, "a.bin", bytes("second")), false);
      assertEquals(await put(one, "a.bin", bytes("first")), false);
      assertEquals(await put(one, "a.bin", new Uint8Array()), false);
      const third = bytes("third");
      assertEquals(await put(one, "a.bin", third, inPieces(third, 2)), false);
      assertEquals(text(await one.read("a.bin")), "first");
    }
  });

  test("a large payload does not replace another", async ({ store }) => {
    if (!await store.canCreateOnce()) return;
    await put(store, "a.bin", bytes("first"));
    const large = randomBytes(LARGE);
    const source = inPieces(large, 1_000_003);
    assertEquals(await put(store, "a.bin", large, source), false);
    assertEquals(await sizesOf(store), { "a.bin": 5 });
  });

  test("one of many that create an object at once does", async ({ store, again }) => {
    if (!await store.canCreateOnce()) return;
    const stores = [store, await again()];
    for (let round = 0; round < 5; round++) {
      const key = `${round}.bin`;
      const payloads = Array.from(
        { length: 16 },
        (_, n) => randomBytes(999, n),
      );
      const made = await Promise.all(
        payloads.map((payload, n) => put(stores[n % 2]!, key, payload)),
      );
      assertEquals(made.filter(Boolean).length, 1);
      assertBytes(await store.read(key), payloads[made.indexOf(true)]!);
    }
  });

  test("what has another digest is refused, and not there", async ({ store }) => {
    const other = await sha256Hex(bytes("other"));
    for (const size of [0, 5, 100_000, LARGE]) {
      const payload = randomBytes(size);
      for (const source of [payload, inPieces(payload, 999_999)]) {
        await assertRejects(() => store.create("a.bin", source, other));
        assertEquals(await store.read("a.bin"), null);
      }
    }
    assertEquals(await keysOf(store), []);
    assertEquals(await put(store, "a.bin", bytes("x")), true);
  });

  test("pieces that are less or more than was told are refused", async ({ store }) => {
    for (const told of [0, 9, 11, LARGE]) {
      const payload = bytes("0123456789");
      const source = { ...inPieces(payload, 3), size: told };
      await assertRejects(() => put(store, "a.bin", payload, source));
    }
    const large = randomBytes(LARGE);
    for (const told of [LARGE - 1, LARGE + 1]) {
      const source = { ...inPieces(large, 1_000_003), size: told };
      await assertRejects(() => put(store, "a.bin", large, source));
    }
    assertEquals(await keysOf(store), []);
  });

  test("a source that fails leaves nothing, and its error is told", async ({ store }) => {
    for (const size of [100, LARGE]) {
      const payload = randomBytes(size);
      const open = async function* () {
        yield payload.subarray(0, size - 1);
        await Promise.resolve();
        throw new RangeError("broken source");
      };
      await assertRejects(
        () => put(store, "a.bin", payload, { size, open }),
        RangeError,
        "broken source",
      );
    }
    assertEquals(await keysOf(store), []);
  });

  test("an object is not there before it is whole", async ({ store, again }) => {
    const other = await again();
    for (const size of [1_000, LARGE]) {
      const key = `${size}.bin`;
      const payload = randomBytes(size);
      const open = async function* () {
        yield payload.subarray(0, size - 1);
        for (const one of [store, other]) {
          assertEquals(await one.read(key), null);
          assert(!(await keysOf(one)).includes(key));
        }
        yield payload.subarray(size - 1);
      };
      await put(store, key, payload, { size, open });
      assertBytes(await other.read(key), payload);
    }
  });

  test("delete() removes this object alone", async ({ store, again }) => {
    await put(store, "a.bin", bytes("1"));
    await put(store, "a.bin.bin", bytes("2"));
    await store.delete("a.bin");
    assertEquals(await store.read("a.bin"), null);
    assertEquals(await store.stream("a.bin"), null);
    await store.delete("a.bin");
    assertEquals(await keysOf(await again()), ["a.bin.bin"]);
    assertEquals(await put(store, "a.bin", bytes("3")), true);
    assertEquals(text(await store.read("a.bin")), "3");
  });

  test("no two keys share an object", async ({ store, again }) => {
    const ids = [
      ...TRICKY_IDS,
      "a+b",
      "a b",
      "a&b=c#d?e",
      "~a'(b)!",
      "a;b,c$@",
    ];
    const digest = await sha256Hex(bytes(""));
    const keys = ids.flatMap((id) => [plainKey(id), versionKey(id, digest)]);
    for (const key of keys) {
      assertEquals(await put(store, key, bytes(`of ${key}`)), true, key);
    }
    for (const one of [store, await again()]) {
      assertEquals(await keysOf(one), keys.toSorted());
      for (const key of keys) {
        assertEquals(text(await one.read(key)), `of ${key}`);
      }
    }
    await Promise.all(keys.map((key) => store.delete(key)));
    assertEquals(await keysOf(store), []);
  });

  test("an object's time is that of the store's clock", async ({ store }) => {
    const before = await store.now();
    await put(store, "a.bin", bytes("abc"));
    const after = await store.now();
    assert(after >= before && after < before + TIME_LIMIT / 1000);
    const [object] = await Array.fromAsync(store.list());
    assertEquals(object?.size, 3);
    assert(object!.modified >= before - CLOCKS, `${object!.modified}`);
    assert(object!.modified <= after + CLOCKS, `${object!.modified}`);
  });

  test("every page of a list is read, no object twice", async ({ store }) => {
    const keys = Array.from({ length: 1_050 }, (_, n) => `${n + 1_000}.bin`);
    const pending = keys.values();
    await Promise.all(Array.from({ length: 16 }, async () => {
      for (const key of pending) await put(store, key, bytes(key));
    }));
    assertEquals(await keysOf(store), keys);
  });

  test("a list can be left early, and changed under", async ({ store }) => {
    for (const key of ["a.bin", "b.bin"]) await put(store, key, bytes(key));
    for await (const { key } of store.list()) {
      await store.delete(key);
      break;
    }
    assertEquals((await keysOf(store)).length, 1);
  });

  test("an empty store lists nothing", async ({ store }) => {
    assertEquals(await keysOf(store), []);
  });

  test("a stream can be left early", async ({ store }) => {
    await put(store, "a.bin", randomBytes(1 << 20));
    const stream = await store.stream("a.bin");
    for await (const _ of stream!) break;
    await (await store.stream("a.bin"))!.cancel();
  });

  test("canCreateOnce() says the same again, and leaves nothing", async ({ store, again }) => {
    const can = await store.canCreateOnce();
    assertEquals(await store.canCreateOnce(), can);
    assertEquals(await (await again()).canCreateOnce(), can);
    assertEquals(await keysOf(store), []);
  });

  test("deleteAbandoned() leaves objects alone", async ({ store }) => {
    await put(store, "a.bin", bytes("1"));
    assertEquals(await store.deleteAbandoned(await store.now() + 60), 0);
    assertEquals(await keysOf(store), ["a.bin"]);
  });

  test("deleteAbandoned() leaves younger uploads alone", async ({ store }) => {
    const payload = randomBytes(LARGE);
    const start = await store.now();
    const open = async function* () {
      yield payload.subarray(0, LARGE - 1);
      await store.deleteAbandoned(start - CLOCKS);
      yield payload.subarray(LARGE - 1);
    };
    assertEquals(
      await put(store, "a.bin", payload, { size: LARGE, open }),
      true,
    );
    assertBytes(await store.read("a.bin"), payload);
  });

  test("close() is harmless when repeated", async ({ store }) => {
    assert(store.url.length > 0);
    await store.close();
    await store.close();
    await assertRejects(() => store.read("a.bin"));
    await assertRejects(() => put(store, "a.bin", bytes("x")));
  });
}

/** Creates an object with the digest that its payload has. */
export async function put(
  store: ObjectStore,
  key: string,
  payload: Uint8Array,
  source: PayloadSource = payload,
): Promise<boolean> {
  return await store.create(key, source, await sha256Hex(payload));
}

/** A payload as a source that gives it piece by piece. */
export function inPieces(
  payload: Uint8Array,
  length: number,
): { size: number; open: () => AsyncIterable<Uint8Array> } {
  return {
    size: payload.length,
    async *open() {
      for (let at = 0; at < payload.length; at += length) {
        await Promise.resolve();
        yield payload.subarray(at, at + length);
        yield new Uint8Array();
      }
    },
  };
}

/** All bytes of a stream that must be there. */
export async function drain(
  stream: ReadableStream<Uint8Array> | null,
): Promise<Uint8Array> {
  assert(stream, "there is no such object");
  return await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>)
    .bytes();
}

/** The keys of all objects, sorted. */
export async function keysOf(store: ObjectStore): Promise<string[]> {
  return (await Array.fromAsync(store.list(), ({ key }) => key)).sort();
}

async function sizesOf(store: ObjectStore): Promise<Record<string, number>> {
  const objects = await Array.fromAsync(store.list());
  return Object.fromEntries(
    objects.map(({ key, size }) => [key, size] as const).sort(),
  );
}
