import { assert, assertEquals } from "@std/assert";
import { performRecovery, verifyStore } from "../../mod.ts";
import { CheckThread } from "../../src/local/check_thread.ts";
import { NEXT, type Shared } from "../../src/local/check_worker.ts";
import type { Looked } from "../../src/local/look_parts.ts";
import {
  closeStore,
  type OpenStore,
  openStore,
} from "../../src/local/open_store.ts";
import { PayloadLook } from "../../src/local/payload_look.ts";
import { QuickLook } from "../../src/local/quick_look.ts";
import { openSqlite } from "../../src/sqlite/driver.ts";
import { Pacer } from "../../src/async/turn.ts";
import {
  bytes,
  flipBit,
  overwriteInLog,
  sampleTx,
  tempStore,
  test,
  TIME_LIMIT,
} from "../helpers.ts";
import { rowsBetween } from "../../src/sqlite/tx_pages.ts";
import type { PayloadFiles } from "../../src/payloads/payload_files.ts";

/** Some parts' worth, and enough for a thread. */
const SOME = 2_000, MANY = 5_000;

/** To make so many files takes its time on some systems. */
const timeout = 5 * TIME_LIMIT;

/** Long: that makes a large database, of which a thread checks a part. */
const idOf = (n: number) => `${"x".repeat(200)}${20_000 - n}`;

const textOf = (n: number) => `payload ${n}`.padEnd(100, ".");

/** A store of many; some of their payloads are gone, some changed. */
async function damagedStore({ packBelow = 0, count = SOME } = {}) {
  const temp = await tempStore({ durability: "relaxed", packBelow });
  const ids = Array.from({ length: count }, (_, n) => idOf(n));
  await temp.store.saveTxs(
    ids.map((txId, n) => sampleTx({ txId, payload: bytes(textOf(n)) })),
  );
  await temp.close();
  const bad = ids.filter((_, n) => n % 397 === 300);
  for (const [n, txId] of bad.entries()) {
    if (packBelow > 0) {
      await overwriteInLog(temp.base, textOf(ids.indexOf(txId)), "damage");
    } else if (n % 2) await Deno.remove(temp.file(txId));
    else await flipBit(temp.file(txId));
  }
  return { temp, ids, bad };
}

async function openForReading({ base, db }: { base: string; db: string }) {
  const store = await openStore(base, db, { readOnly: true });
  return { store, [Symbol.asyncDispose]: () => closeStore(store) };
}

/** What a look sees in all. */
async function seen(
  store: OpenStore,
  thread: CheckThread | null,
  early = false,
) {
  const look = PayloadLook.begin(store, SOME, new Pacer(), thread)!;
  if (early) await look.early(() => false);
  const all = { sound: 0, bytes: 0, inFiles: 0, unsure: [] as string[] };
  const parts = new Set<number>();
  for await (const { part, sound, bytes, inFiles, unsure } of look) {
    assert(!parts.has(part), `part ${part} twice`);
    parts.add(part);
    all.sound += sound;
    all.bytes += bytes;
    all.inFiles += inFiles;
    all.unsure.push(...unsure);
  }
  return { ...all, unsure: all.unsure.sort() };
}

for (const [layout, packBelow] of [["files", 0], ["the log", 1_000]] as const) {
  test(
    `a look at payloads in ${layout} sees each once, whoever takes part`,
    async () => {
      const { temp, bad } = await damagedStore({ packBelow });
      await using _ = temp;
      await using open = await openForReading(temp);
      const { store } = open;
      const expected = {
        sound: SOME - bad.length,
        bytes: 100 * (SOME - bad.length),
        inFiles: packBelow > 0 ? 0 : SOME - bad.length,
        unsure: bad.toSorted(),
      };
      assertEquals(await seen(store, null), expected);
      assertEquals(await seen(store, null, true), expected);
      {
        await using thread = (await CheckThread.start(store))!;
        assertEquals(await thread.integrity(), []);
        const files = await thread.countFiles();
        assertEquals(
          files,
          [...Deno.readDirSync(temp.base)]
            .filter(({ name }) => name.endsWith(".bin")).length,
        );
        assertEquals(await seen(store, thread), expected);
        assertEquals(await seen(store, thread, true), expected);
      }
      // One that has died after it took some parts.
      const dying = {
        look(_: unknown, shared: Shared): Promise<Looked[] | null> {
          Atomics.add(shared, NEXT, 3);
          return Promise.resolve(null);
        },
      } as unknown as CheckThread;
      assertEquals(await seen(store, dying), expected);
    },
    { timeout },
  );
}

test(
  "a look goes through rows in the order in which they were saved",
  async () => {
    const { temp, ids } = await damagedStore();
    await using _ = temp;
    await using open = await openForReading(temp);
    const { store } = open;
    const asked: string[] = [];
    const files = new Proxy(store.files, {
      get(files, name) {
        if (name !== "expected") return Reflect.get(files, name, files);
        return (row: Parameters<PayloadFiles["expected"]>[0]) => {
          asked.push(row.txId);
          return files.expected(row);
        };
      },
    });
    await seen({ ...store, files }, null);
    assertEquals(asked, ids);
  },
  { timeout },
);

test("a look finds rows between any gaps, and of any number", async () => {
  const { temp, ids } = await damagedStore();
  await using _ = temp;
  const db = await openSqlite(temp.db, "builtin", false);
  db.exec("UPDATE txs SET rowid = rowid * 1000000 WHERE rowid > 100");
  db.exec("UPDATE txs SET rowid = -rowid WHERE rowid <= 3");
  {
    await using open = await openForReading(temp);
    const { sound, unsure } = await seen(open.store, null);
    assertEquals(sound + unsure.length, ids.length);
  }
  db.exec("UPDATE txs SET rowid = 9223372036854775807 WHERE rowid = 4");
  db.close();
  const { checked } = await verifyStore(temp.base, temp.db);
  assertEquals(checked, ids.length);
}, { timeout });

test(
  "on a slow disk files are read many at once, with the same result",
  async () => {
    const { temp, bad } = await damagedStore();
    await using _ = temp;
    await using open = await openForReading(temp);
    const { store } = open;
    const slow = {
      expected(row: Parameters<PayloadFiles["expected"]>[0]) {
        const until = performance.now() + 0.1;
        while (performance.now() < until);
        return store.files.expected(row);
      },
    } as PayloadFiles;
    const quick = new QuickLook({ files: slow, dir: store.log.dir });
    const unsure: string[] = [];
    let turns = 0;
    const pacer = new Pacer();
    const giveWay = pacer.giveWay.bind(pacer);
    pacer.giveWay = () => (turns++, giveWay());
    for (let after = 0; after < SOME; after += 64) {
      const page = rowsBetween(store.rows, after, after + 64, 64);
      const sound = await quick.look(page, pacer);
      unsure.push(
        ...page.filter((_, i) => !sound[i]).map(({ info }) => info.txId),
      );
    }
    assertEquals(unsure, bad);
    assert(turns < SOME / 32, "no page was read at once");
  },
  { timeout },
);

test("recover of many finds all that is damaged, and the orphan", async () => {
  const { temp, bad } = await damagedStore({ count: MANY });
  await using _ = temp;
  await Deno.writeTextFile(temp.file("orphan"), "orphan");
  const report = await performRecovery(temp.base, temp.db);
  assertEquals([report.checked, report.sound], [MANY, MANY - bad.length]);
  assertEquals(report.bytes >= 100 * (MANY - bad.length), true);
  const found = report.findings.map(({ txId, action }) => `${txId} ${action}`);
  const expected = bad.map((txId) => `${txId} quarantined`);
  assertEquals(found.sort(), ["orphan none", ...expected].sort());
  const again = await performRecovery(temp.base, temp.db);
  assertEquals(again.findings.map(({ txId }) => txId), ["orphan"]);
  assertEquals(again.sound, MANY - bad.length);
  // Nothing is left open: the database is in one file.
  assertEquals(
    [...Deno.readDirSync(temp.base)].filter(({ name }) =>
      name.startsWith("poh.db")
    ).length,
    1,
  );
}, { timeout });

test(
  "a check that is stopped ends at once, and is not gone on from",
  async () => {
    const { temp } = await damagedStore({ count: MANY });
    await using _ = temp;
    for (const check of [verifyStore, performRecovery]) {
      const stop = new AbortController();
      const report = await check(temp.base, temp.db, {
        signal: stop.signal,
        onProgress: ({ step }) => step === "payloads" && stop.abort(),
      });
      assertEquals([report.interrupted, report.cursor], [true, null]);
      assert(report.checked < MANY, `${report.checked}`);
    }
  },
  { timeout },
);
