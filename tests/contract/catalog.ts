/**
 * What every {@linkcode Catalog} does beyond what a `MetadataStore` does.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  InvalidTxError,
  PohStorageError,
  StoreBusyError,
  type TxInfo,
  type TxQuery,
} from "../../mod.ts";
import {
  type Catalog,
  type CatalogChange,
  type CatalogEntry,
  type CatalogOutcome,
  GRACE,
} from "../../src/shared/contracts.ts";
import { plainKey, versionKey } from "../../src/shared/object_key.ts";
import { TIME_LIMIT, within } from "../helpers.ts";
import { sampleInfo, TIMESTAMPS } from "./metadata_store.ts";
import { TRICKY_IDS } from "./payload_store.ts";
import { suite } from "./suite.ts";

/** A catalog to test, and what ends with it. */
export interface CatalogCase extends AsyncDisposable {
  /** An empty catalog, initialized. Its leases last a few seconds at most. */
  catalog: Catalog;
  /** The same one as another machine has it open; closed with the case. */
  again(): Promise<Catalog>;
  /** Lets so many seconds pass for retired keys and for leases. */
  age(seconds: number): Promise<void>;
}

/** Declares the tests. */
export function testCatalog(
  name: string,
  make: () => Promise<CatalogCase>,
  options: { ignore?: boolean; leasesStay?: boolean } = {},
): void {
  const test = suite(name, make, options);

  // --- rows and their keys --------------------------------------------------

  test("find() gives rows with their keys, in the order asked for", async (made) => {
    const a = entry("a"), b = entry("b", versionOf("b"));
    assertEquals(await commit(made.catalog, put(a), put(b)), "created created");
    for (const catalog of [made.catalog, await made.again()]) {
      assertEquals(await catalog.find(["b", "x", "a", "b"]), [b, null, a, b]);
      assertEquals(await catalog.find([]), []);
      assertEquals(await catalog.load("b"), b.info);
      assertEquals(await catalog.count(), 2);
    }
  });

  test("find() takes any text, and many ids", async ({ catalog }) => {
    await commit(catalog, put(entry("a\uFFFD")));
    assertEquals(await catalog.find(["a\uD800", "a\0", ""]), [
      null,
      null,
      null,
    ]);
    const ids = Array.from({ length: 2_000 }, (_, n) => `id-${n}`);
    await catalog.commit(ids.map((txId) => put(entry(txId))));
    assertEquals(
      (await catalog.find(ids)).map((found) => found?.info.txId),
      ids,
    );
  });

  test("commit() keeps every fact exactly", async (made) => {
    const entries = [
      ...TIMESTAMPS.map((timestamp, n) =>
        entry(`t${n}`, undefined, { timestamp })
      ),
      ...[-1, 0, 2 ** 32 + 1, 2 ** 53 - 1].map((size) =>
        entry(`s${size}`, undefined, { size })
      ),
      ...TRICKY_IDS.map((txId) => entry(txId, undefined, { holderId: txId })),
      ...["", '"', "\\", "{}", "NULL", "a,b", "\n"].map((holderId, n) =>
        entry(`h${n}`, versionOf(`h${n}`), { holderId })
      ),
    ];
    const outcomes = await made.catalog.commit(entries.map((e) => put(e)));
    assertEquals(new Set(outcomes), new Set(["created"]));
    const again = await made.again();
    assertEquals(await again.find(entries.map((e) => e.info.txId)), entries);
  });

  test("entries() gives what iterate() gives, with keys", async ({ catalog }) => {
    const entries = Array.from({ length: 1_500 }, (_, n) => {
      const txId = `id-${10_000 + n}`;
      return entry(txId, n % 3 === 0 ? versionOf(txId) : undefined, {
        timestamp: n % 100,
        holderId: `h${n % 2}`,
      });
    });
    await catalog.commit(entries.map((e) => put(e)));
    assertEquals(await Array.fromAsync(catalog.entries()), entries);
    const queries: TxQuery[] = [
      { holderId: "h1", limit: 700 },
      { sort: "time", reverse: true },
      { sort: "time", since: 10, before: 90, after: "id-10020" },
      { idPrefix: "id-101", after: "id-10150", reverse: true },
    ];
    for (const query of queries) {
      const found = await Array.fromAsync(catalog.entries(query));
      assert(found.length > 0);
      assertEquals(
        found.map(({ info }) => info),
        await Array.fromAsync(catalog.iterate(query)),
      );
      for (const { info, key } of found) {
        assertEquals(key, entries.find((e) => e.info.txId === info.txId)?.key);
      }
    }
  });

  test("named() tells the keys that rows name", async ({ catalog }) => {
    const version = versionOf("b");
    await commit(
      catalog,
      put(entry("a")),
      put(entry("b", version)),
      put(entry("A/B")),
      put(entry("%41")),
      put(entry("A")),
      put(entry("gone")),
      put(entry("C", "legacy.bin")),
    );
    await commit(catalog, remove("gone"));
    const named = [
      plainKey("a"),
      version,
      plainKey("A/B"),
      plainKey("%41"),
      plainKey("A"),
      "legacy.bin",
    ];
    const others = [
      plainKey("b"),
      plainKey("gone"),
      plainKey("C"),
      versionOf("a"),
      versionOf("b"),
      "%41.bin",
      "legacy",
      "x.bin",
      ".poh/x.bin",
      "a/b.bin",
      "",
    ];
    assertEquals(await catalog.named([...others, ...named]), new Set(named));
    assertEquals(await catalog.named([]), new Set());
  });

  test("nothing is done for no changes", async ({ catalog }) => {
    assertEquals(await catalog.commit([]), []);
  });

  test("a batch is made as a whole, or not at all", async ({ catalog }) => {
    const bad: Partial<TxInfo>[] = [
      { holderId: "a\0b" },
      { holderId: "a\uD800" },
      { txId: "a\0b" },
      { txId: "a\uD800" },
    ];
    for (const info of bad) {
      const change = put({
        ...entry("b"),
        info: sampleInfo({ txId: "b", ...info }),
      });
      await assertRejects(
        () => catalog.commit([put(entry("a")), change, put(entry("c"))]),
        InvalidTxError,
      );
    }
    for (const timestamp of [NaN, Infinity]) {
      const change = put(entry("b", undefined, { timestamp }));
      await assertRejects(() => catalog.commit([put(entry("a")), change]));
    }
    assertEquals(await catalog.count(), 0);
  });

  test("the end of a batch tells what became of each change", async ({ catalog }) => {
    const a = entry("a"), b = entry("b");
    await commit(catalog, put(a), put(b), put(entry("d")));
    await commit(catalog, remove("d"));
    const outcomes = await commit(
      catalog,
      put(entry("c")),
      remove("x"),
      put(entry("e"), { deadline: 1 }),
      put(entry("d")),
      remove("a"),
      put(entry("b", versionOf("b")), { seen: a }),
    );
    assertEquals(outcomes, "created unchanged late retired removed unchanged");
    assertEquals(await catalog.listIds(), ["b", "c"]);
  });

  test("a large batch is one commit", async ({ catalog }) => {
    const ids = Array.from({ length: 5_000 }, (_, n) => `id-${10_000 + n}`);
    const outcomes = await catalog.commit(ids.map((id) => put(entry(id))));
    assertEquals(outcomes.length, ids.length);
    assertEquals(await catalog.count(), ids.length);
    const gone = await catalog.commit(ids.map((id) => remove(id)));
    assertEquals(gone.filter((outcome) => outcome === "removed").length, 5_000);
    assertEquals(await catalog.count(), 0);
  });

  // --- conditions -----------------------------------------------------------

  test("a change of what was seen leaves any other row alone", async ({ catalog }) => {
    const a = entry("a"), next = entry("a", versionOf("a"), { size: 9 });
    assertEquals(await commit(catalog, put(next, { seen: a })), "unchanged");
    assertEquals(await commit(catalog, remove("a", a)), "unchanged");
    await commit(catalog, put(a));
    const others: CatalogEntry[] = [
      entry("a", versionOf("a")),
      entry("a", undefined, { holderId: "bob" }),
      entry("a", undefined, { timestamp: 0 }),
      entry("a", undefined, { storageHash: "ff".repeat(32) }),
      entry("a", undefined, { size: 6 }),
    ];
    for (const seen of others) {
      assertEquals(await commit(catalog, put(next, { seen })), "unchanged");
      assertEquals(await commit(catalog, remove("a", seen)), "unchanged");
    }
    assertEquals(await catalog.find(["a"]), [a]);
    assertEquals(await catalog.retired(9), []);
    assertEquals(await commit(catalog, put(next, { seen: a })), "same");
    assertEquals(await catalog.find(["a"]), [next]);
    assertEquals(await commit(catalog, remove("a", next)), "removed");
    assertEquals(await catalog.find(["a"]), [null]);
  });

  test("a put past its deadline is not made", async ({ catalog }) => {
    const a = entry("a");
    const now = await catalog.now();
    for (const deadline of [0, now - 1, -Infinity]) {
      assertEquals(await commit(catalog, put(a, { deadline })), "late");
    }
    assertEquals(await catalog.count(), 0);
    assertEquals(await catalog.retired(9), []);
    const deadline = now + 60;
    assertEquals(await commit(catalog, put(a, { deadline })), "created");
    assertEquals(
      await commit(catalog, put(a, { deadline: Infinity })),
      "same",
    );
  });

  test("nor is a removal past its deadline", async ({ catalog }) => {
    await commit(catalog, put(entry("a")));
    const now = await catalog.now();
    const removeBy = (deadline: number) => ({ remove: "a", deadline });
    assertEquals(await commit(catalog, removeBy(now - 1)), "late");
    assertEquals(await catalog.count(), 1);
    assertEquals(await commit(catalog, removeBy(now + 60)), "removed");
    assertEquals(await commit(catalog, removeBy(now - 1)), "unchanged");
  });

  test("changes of one id in one batch are made in turn", async ({ catalog }) => {
    const [k1, k2, k3] = [plainKey("a"), versionOf("a"), versionOf("a")];
    const [a1, a2, a3] = [entry("a", k1), entry("a", k2), entry("a", k3)];
    const outcomes = await commit(
      catalog,
      remove("a"),
      put(a1),
      put(entry("b")),
      put(a2, { seen: a1 }),
      put(a3, { seen: a1 }),
      remove("a", a2),
      remove("a"),
      put(a1),
      put(a2),
      put(a3, { deadline: 1 }),
      put(a3),
      remove("b"),
      put(entry("b")),
    );
    assertEquals(
      outcomes,
      "unchanged created created same unchanged removed unchanged retired retired late created removed retired",
    );
    assertEquals(await catalog.find(["a", "b"]), [a3, null]);
    assertEquals(
      await retiredKeys(catalog),
      [k1, k2, plainKey("b")].toSorted(),
    );
  });

  // --- retired keys ---------------------------------------------------------

  test("what a commit leaves without a row is retired", async (made) => {
    const { catalog } = made;
    const first = entry("a"), second = entry("a", versionOf("a"));
    await commit(catalog, put(first), put(entry("b")));
    assertEquals(await catalog.retired(9), []);
    await commit(catalog, put(entry("a", first.key, { size: 7 })));
    assertEquals(await catalog.retired(9), []); // its row names it still
    await commit(catalog, put(second));
    assertEquals(await catalog.retired(9), [{
      key: first.key,
      deleted: false,
    }]);
    await commit(catalog, remove("a"), remove("x"));
    assertEquals(
      await retiredKeys(await made.again()),
      [first.key, second.key].toSorted(),
    );
  });

  test("save() and remove() keep to that", async ({ catalog }) => {
    const version = entry("a", versionOf("a"));
    await commit(catalog, put(version));
    await catalog.save(sampleInfo({ txId: "a", size: 77 }));
    assertEquals((await catalog.load("a"))?.size, 77);
    assertEquals(await catalog.retired(9), []);
    assertEquals(await catalog.remove("a"), true);
    assertEquals(await retiredKeys(catalog), [version.key]);
    await catalog.save(sampleInfo({ txId: "b" }));
    assertEquals(await catalog.find(["b"]), [entry("b")]);
    await catalog.remove("b");
    await catalog.save(sampleInfo({ txId: "b" }));
    const [found] = await catalog.find(["b"]);
    assertEquals(found?.info, sampleInfo({ txId: "b" }));
    assert(found!.key !== plainKey("b"), "a retired key is used again");
  });

  test("a retired key is not used again before its grace is over", async (made) => {
    const { catalog } = made;
    const a = entry("a"), version = entry("b", versionOf("b"));
    await commit(catalog, put(a), put(version), remove("a"), remove("b"));
    const refused = async () =>
      assertEquals(
        await commit(catalog, put(a), put(version)),
        "retired retired",
      );
    await refused();
    await made.age(2 * GRACE);
    assertEquals(await catalog.forgetRetired(), 0); // not known to be deleted
    await refused();
    await catalog.noteDeleted([a.key, version.key]);
    assertEquals(await catalog.forgetRetired(), 0); // it begins anew
    await refused();
    await made.age(GRACE - 60);
    assertEquals(await catalog.forgetRetired(), 0);
    await refused();
    await catalog.noteDeleted([version.key]);
    await made.age(120);
    assertEquals(await catalog.forgetRetired(), 1);
    assertEquals(await retiredKeys(catalog), [version.key]);
    assertEquals(
      await commit(catalog, put(a), put(version)),
      "created retired",
    );
    assertEquals(await catalog.find(["a", "b"]), [a, null]);
  });

  test("retire() retires keys that no row names, again where they are", async (made) => {
    const { catalog } = made;
    const a = entry("a"),
      b = entry("b", versionOf("b")),
      other = versionOf("c");
    await commit(catalog, put(a), put(b));
    const keys = [a.key, b.key, other, plainKey("b"), "no key of ours"];
    const retired = new Set([other, plainKey("b"), "no key of ours"]);
    assertEquals(await catalog.retire(keys), retired);
    assertEquals(await catalog.retiredOf(keys), retired);
    assertEquals(await catalog.retire([]), new Set());
    await catalog.noteDeleted([other]);
    await made.age(GRACE + 1);
    assertEquals(await catalog.retire([other]), new Set([other]));
    assertEquals(await catalog.forgetRetired(), 0);
    assertEquals(
      await commit(catalog, put(entry("c", other)), put(entry("b"))),
      "retired retired",
    );
    await using lease = await catalog.lease();
    assertEquals(await catalog.retire([other], lease.token), new Set([other]));
    await assertRejects(
      () => catalog.retire(["x.bin"], lease.token - 1),
      PohStorageError,
    );
    assertEquals(await catalog.retiredOf(["x.bin"]), new Set());
  });

  test("a put where no row is to be leaves one alone", async ({ catalog }) => {
    const a = entry("a"), next = entry("a", versionOf("a"));
    assertEquals(await commit(catalog, put(a, { seen: null })), "created");
    assertEquals(await commit(catalog, put(next, { seen: null })), "unchanged");
    assertEquals(await catalog.find(["a"]), [a]);
    await commit(catalog, remove("a"));
    assertEquals(await commit(catalog, put(next, { seen: null })), "created");
  });

  test("a put tells whether there was a row, and of the same transaction", async ({ catalog }) => {
    const a = entry("a");
    assertEquals(await commit(catalog, put(a)), "created");
    const others = [
      entry("a", versionOf("a"), { holderId: "bob" }),
      entry("a", versionOf("a"), { holderId: "bob", timestamp: 0 }),
      entry("a", versionOf("a"), { storageHash: "ff".repeat(32) }),
    ];
    for (const other of others) {
      assertEquals(await commit(catalog, put(other)), "replaced");
      const moved = { ...other, key: versionOf("a") };
      assertEquals(await commit(catalog, put(moved)), "same");
    }
    assertEquals(await commit(catalog, remove("a")), "removed");
    assertEquals(await commit(catalog, put(entry("b"))), "created");
    assertEquals(await catalog.isWriteOnce(), false);
  });

  test("a catalog has an id that stays", async (made) => {
    const id = await made.catalog.id();
    assert(/^[0-9a-f-]{36}$/.test(id), id);
    assertEquals(await (await made.again()).id(), id);
  });

  test("holders() counts, those with the most first", async ({ catalog }) => {
    assertEquals(await catalog.holders(2), { count: 0, top: [] });
    for (const [n, holderId] of ["x", "y", "x", "", "z", "z"].entries()) {
      await commit(catalog, put(entry(`${n}`, undefined, { holderId })));
    }
    assertEquals(await catalog.holders(2), {
      count: 4,
      top: [{ holderId: "x", txs: 2 }, { holderId: "z", txs: 2 }],
    });
  });

  test("retired() gives the oldest first, not deleted ones before others", async (made) => {
    const { catalog } = made;
    const entries = ["d", "b", "c", "a", "e"].map((id) => entry(id));
    await catalog.commit(entries.map((e) => put(e)));
    for (const { info } of entries) {
      await commit(catalog, remove(info.txId));
      await made.age(10);
    }
    const keys = (...ids: string[]) => ids.map((id) => plainKey(id));
    const order = async (limit: number) =>
      (await catalog.retired(limit)).map(({ key }) => key);
    assertEquals(await order(9), keys("d", "b", "c", "a", "e"));
    await catalog.noteDeleted(keys("b"));
    await made.age(10);
    await catalog.noteDeleted(keys("d"));
    assertEquals(await order(9), keys("c", "a", "e", "b", "d"));
    assertEquals(
      (await catalog.retired(9)).map(({ deleted }) => deleted),
      [false, false, false, true, true],
    );
    assertEquals(await order(2), keys("c", "a"));
    assertEquals(await order(0), []);
  });

  // --- sums, ranges, time ---------------------------------------------------

  test("totals() and iterateByHolder() go through all rows", async ({ catalog }) => {
    assertEquals(await catalog.totals(), {
      bytes: 0,
      unknownSizes: 0,
      oldest: null,
      newest: null,
    });
    const infos = Array.from({ length: 1_200 }, (_, n) =>
      sampleInfo({
        txId: `id-${10_000 + n}`,
        holderId: `h${n % 7}`,
        timestamp: (n * 31) % 400,
        size: n % 10 === 0 ? -1 : n,
      }));
    await catalog.commit(
      infos.map((info) => put({ info, key: plainKey(info.txId) })),
    );
    assertEquals(await catalog.totals(), {
      bytes: infos.reduce((sum, { size }) => sum + Math.max(size, 0), 0),
      unknownSizes: 120,
      oldest: 0,
      newest: 399,
    });
    assertEquals(
      await Array.fromAsync(catalog.iterateByHolder()),
      infos.toSorted((a, b) =>
        compare(a.holderId, b.holderId) || a.timestamp - b.timestamp ||
        compare(a.txId, b.txId)
      ),
    );
  });

  test("boundaries() cuts all rows into ranges of about the same length", async ({ catalog }) => {
    assertEquals(await catalog.boundaries(4), []);
    const ids = Array.from(
      { length: 1_000 },
      (_, n) => `${(n * n) % 7919}-${n}`,
    );
    await catalog.commit(ids.map((id) => put(entry(id))));
    assertEquals(await catalog.boundaries(1), []);
    for (const ranges of [2, 3, 10]) {
      const cuts = await catalog.boundaries(ranges);
      assertEquals(cuts.length, ranges - 1);
      assertEquals(cuts, cuts.toSorted(compare));
      for (let n = 0; n < ranges; n++) {
        const length = ids.filter((id) =>
          id > (cuts[n - 1] ?? "") && !(id > (cuts[n] ?? "~"))
        ).length;
        const fair = ids.length / ranges;
        assert(length > fair / 2 && length < fair * 2, `${length}: ${ranges}`);
      }
    }
  });

  test("boundaries() of fewer rows than ranges are ids, none twice", async ({ catalog }) => {
    await commit(catalog, put(entry("a")), put(entry("b")), put(entry("c")));
    const cuts = await catalog.boundaries(10);
    assertEquals(cuts, [...new Set(cuts)].toSorted(compare));
    assert(cuts.every((id) => ["a", "b", "c"].includes(id)));
  });

  test("now() is the time, and goes on", async ({ catalog }) => {
    const before = await catalog.now();
    assert(Math.abs(before - Date.now() / 1000) < 60);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert(await catalog.now() > before);
  });

  // --- leases ---------------------------------------------------------------

  test("one has the right to repair, until it lets go", async (made) => {
    const other = await made.again();
    let token: number;
    {
      await using lease = await made.catalog.lease();
      token = lease.token;
      await assertRejects(() => other.lease(), StoreBusyError);
      await assertRejects(() => made.catalog.lease(), StoreBusyError);
      assertEquals(
        await made.catalog.commit([put(entry("a"))], lease.token),
        ["created"],
      );
      // Only repairs need the right.
      assertEquals(await commit(other, put(entry("b"))), "created");
      assertEquals(lease.signal.aborted, false);
    }
    await using lease = await other.lease();
    assert(lease.token > token);
    assertEquals(await other.listIds(), ["a", "b"]);
  });

  // Where the operating system drops a lease with its process none is lost.
  const testLost = options.leasesStay ? () => {} : test;
  testLost(
    "whoever has lost the right changes nothing any more",
    async (made) => {
      const other = await made.again();
      await using lost = await made.catalog.lease();
      const aborted = new Promise<void>((resolve) =>
        lost.signal.addEventListener("abort", () => resolve())
      );
      await using lease = await takeOver(made, other);
      assert(lease.token > lost.token);
      const error = await assertRejects(
        () => made.catalog.commit([put(entry("a"))], lost.token),
        PohStorageError,
      );
      assertEquals(error.code, "LEASE_LOST");
      assertEquals(await other.count(), 0);
      assertEquals(await other.commit([put(entry("a"))], lease.token), [
        "created",
      ]);
      await within(TIME_LIMIT / 2, aborted);
      assertEquals(lease.signal.aborted, false);
      await lost[Symbol.asyncDispose]();
      await assertRejects(() => made.catalog.lease(), StoreBusyError);
    },
  );

  // --- several machines -----------------------------------------------------

  test("of many saves of one id one stays, the others' keys are retired", async (made) => {
    const other = await made.again();
    const keys = Array.from({ length: 24 }, () => versionOf("a"));
    const outcomes = await Promise.all(
      keys.map((key, n) =>
        commit(n % 2 ? other : made.catalog, put(entry("a", key)))
      ),
    );
    assertEquals(outcomes.toSorted(), [
      "created",
      ...Array(23).fill("same"),
    ]);
    const [found] = await other.find(["a"]);
    assertEquals(
      await retiredKeys(other),
      keys.filter((key) => key !== found!.key).toSorted(),
    );
  });

  test("of many changes of what was seen one is made", async (made) => {
    const other = await made.again();
    const a = entry("a");
    await commit(other, put(a));
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, (_, n) => {
        const change = n % 3
          ? put(entry("a", versionOf("a")), { seen: a })
          : remove("a", a);
        return commit(n % 2 ? other : made.catalog, change);
      }),
    );
    assertEquals(
      outcomes.filter((outcome) => outcome !== "unchanged").length,
      1,
    );
    assertEquals(await retiredKeys(other), [a.key]);
  });

  test("batches of the same ids in other orders do not stop each other", async (made) => {
    const other = await made.again();
    const ids = Array.from({ length: 40 }, (_, n) => `id-${n}`);
    for (let round = 0; round < 3; round++) {
      const outcomes = await Promise.all(
        [ids, ids.toReversed(), ids, ids.toReversed()].map((order, n) =>
          (n % 2 ? other : made.catalog).commit(
            order.map((id) => put(entry(id, versionOf(id)))),
          )
        ),
      );
      assertEquals(
        new Set(outcomes.flat().filter((one) => one !== "created")),
        new Set(["same"]),
      );
    }
    assertEquals(await other.count(), ids.length);
    assertEquals((await other.retired(9_999)).length, (3 * 4 - 1) * ids.length);
  });
}

/** A row and its key; what is not given is made up. */
export function entry(
  txId: string,
  key = plainKey(txId),
  info: Partial<TxInfo> = {},
): CatalogEntry {
  return { info: sampleInfo({ txId, ...info }), key };
}

/** A key of its own for an id. */
export function versionOf(txId: string): string {
  return versionKey(txId, sampleInfo().storageHash);
}

/** The change that makes the row say this. */
export function put(
  put: CatalogEntry,
  more: { deadline?: number; seen?: CatalogEntry | null } = {},
): CatalogChange {
  return { put, deadline: Infinity, ...more };
}

/** The change that makes the row go. */
export function remove(txId: string, seen?: CatalogEntry): CatalogChange {
  return { remove: txId, ...(seen && { seen }) };
}

/** Commits one batch; what became of each change, as words. */
export async function commit(
  catalog: Catalog,
  ...changes: CatalogChange[]
): Promise<string> {
  const outcomes: CatalogOutcome[] = await catalog.commit(changes);
  return outcomes.join(" ");
}

/** All retired keys, sorted. */
export async function retiredKeys(catalog: Catalog): Promise<string[]> {
  return (await catalog.retired(1_000_000)).map(({ key }) => key).toSorted();
}

/** Gets the right from one that still renews it, as if that had been away. */
async function takeOver(made: CatalogCase, other: Catalog) {
  for (;;) {
    await made.age(GRACE);
    try {
      return await other.lease();
    } catch (error) {
      if (!(error instanceof StoreBusyError)) throw error;
    }
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
