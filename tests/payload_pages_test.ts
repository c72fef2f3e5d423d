import { assert, assertEquals } from "@std/assert";
import { performRecovery } from "../mod.ts";
import { closeStore, type OpenStore, openStore } from "../src/open_store.ts";
import { payloadPages } from "../src/payload_pages.ts";
import type { TxFilter } from "../src/types.ts";
import { flipBit, sampleTx, tempStore, test, TIME_LIMIT } from "./helpers.ts";

/** Enough for another thread. */
const COUNT = 9_000;

/** To make so many files takes its time on some systems. */
const timeout = 5 * TIME_LIMIT;

/** A store of many; some of their payloads are gone, some changed. */
async function damagedStore() {
  const temp = await tempStore({ durability: "relaxed" });
  const ids = Array.from({ length: COUNT }, (_, n) => `tx-${n + COUNT * 10}`);
  await temp.store.saveTxs(ids.map((txId) => sampleTx({ txId })));
  await temp.close();
  const bad = ids.filter((_, n) => n % 997 === 500);
  for (const [n, txId] of bad.entries()) {
    if (n % 2) await Deno.remove(temp.file(txId));
    else await flipBit(temp.file(txId));
  }
  return { temp, ids, bad };
}

async function openForReading({ base, db }: { base: string; db: string }) {
  const store = await openStore(base, db, { readOnly: true });
  return { store, [Symbol.asyncDispose]: () => closeStore(store) };
}

/** What the pages are said to hold, and what of it is not sound. */
async function walk(
  store: OpenStore,
  filter: TxFilter,
  count: number | null,
  msForEach = 0,
) {
  const ids: string[] = [], bad: string[] = [];
  const ways = new Set<string>();
  for await (const page of payloadPages(store, filter, count)) {
    const until = performance.now() + msForEach * page.rows.length;
    while (performance.now() < until); // as a slow disk would
    ways.add(page.isAtOnce ? "at once" : page.ended ? "shared" : "alone");
    for (const [n, row] of page.rows.entries()) {
      ids.push(row.txId);
      if (!await page.isSound(n)) bad.push(row.txId);
    }
  }
  return { ids, bad, ways: [...ways] };
}

test("pages tell of every row once, by whatever way it is read", async () => {
  const { temp, ids, bad } = await damagedStore();
  await using _ = temp;
  await using open = await openForReading(temp);
  const { store } = open;
  const sample = await walk(store, {}, null);
  assertEquals([sample.ids, sample.bad, sample.ways], [ids, bad, ["alone"]]);
  const few = await walk(store, {}, 100);
  assertEquals([few.ids, few.bad], [ids, bad]);
  const many = await walk(store, {}, COUNT);
  assertEquals([many.ids, many.bad], [ids, bad]);
  assert(many.ways.includes("shared"));
  const slow = await walk(store, {}, 100, 0.05);
  assertEquals([slow.ids, slow.bad], [ids, bad]);
  assert(slow.ways.includes("at once"));
}, { timeout });

test("pages keep to a filter and to a limit", async () => {
  const { temp, ids } = await damagedStore();
  await using _ = temp;
  await using open = await openForReading(temp);
  for (const limit of [0, 1, 64, 65, 128, 1_024, 2_000]) {
    const some = await walk(open.store, { after: ids[9]!, limit }, COUNT);
    assertEquals(some.ids, ids.slice(10, 10 + limit));
  }
  const none = await walk(open.store, { holderId: "nobody" }, 0);
  assertEquals(none.ids, []);
}, { timeout });

test("whoever has seen enough of the pages leaves nothing open", async () => {
  const { temp } = await damagedStore();
  await using _ = temp;
  await using open = await openForReading(temp);
  let rows = 0;
  for await (const page of payloadPages(open.store, {}, COUNT)) {
    rows += page.rows.length;
    if (rows > 2_000) break;
  }
  assert(rows > 2_000 && rows < COUNT, `${rows}`);
}, { timeout });

test("recover of many finds all that is damaged, and the orphan", async () => {
  const { temp, bad } = await damagedStore();
  await using _ = temp;
  await Deno.writeTextFile(temp.file("orphan"), "orphan");
  const report = await performRecovery(temp.base, temp.db);
  assertEquals([report.checked, report.sound], [COUNT, COUNT - bad.length]);
  const found = report.findings.map(({ txId, action }) => `${txId} ${action}`);
  const expected = bad.map((txId) => `${txId} quarantined`);
  assertEquals(found.sort(), ["orphan none", ...expected]);
  const again = await performRecovery(temp.base, temp.db);
  assertEquals(again.findings.map(({ txId }) => txId), ["orphan"]);
  assertEquals(again.sound, COUNT - bad.length);
}, { timeout });
